"""Clips of the generated world: scenes in time.

`timeline` (what happens), `changes` (per frame, reordered, backwards), `film` (frames, boxes, masks), `telling`
(captions, false ones, questions), `reader` (frames back to events), `steps` (tasks and narrations), `track` (what is
heard), `body`, `pose` and `signs` (skeletons that move and sign), `guards`.
"""
