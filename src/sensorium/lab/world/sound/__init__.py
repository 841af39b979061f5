"""Sounds of the generated world.

`timbre` (tones), `events` (scenes of sounds and their waves), `telling` (captions, false ones, questions), `reader`
(waves back to events), `phones`, `speech`, `listening` (toy speech, and phones read back), `transcripts` (with known
errors), `music`, `guards`.
"""
