"""The talk renderer: interleaved documents, dialogues, stories and tool tasks, each turn with the facts that it states.

Everything is a pure function of (facts, seed). Pictures are scenes: `scene.render` of the worlds that come with a text.
"""
