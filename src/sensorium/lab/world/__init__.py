"""The generated world: facts drawn once, rendered as pictures and sentences, edited, corrupted and read back."""
