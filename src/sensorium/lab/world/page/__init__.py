"""The page renderer: words, signs, forms, web pages, documents, charts, memes, and pages that contradict themselves.

Everything is a pure function of (facts, style, seed), in letters of its own (`glyphs`) that are equal on every machine.
Each module ends with a reader that knows the style, is never trained, and reports its error on true renders.
"""
