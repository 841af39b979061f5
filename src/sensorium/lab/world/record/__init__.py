"""Records of the generated world.

`table` (rows, targets by rule, texts), `missing` (holes by mechanism), `series`, `cases` (a label told by four
modalities), `items` (shops and places), `graph` (knowledge, paths, questions), `indicators`, `smiles`, `molecules`,
`reactions`.
"""
