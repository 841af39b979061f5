"""Metrics as free functions, one module per family; arrays in, a float or an array out.

A metric that is a mean over items returns the items' values, [N]: take `inputs.mean`, or hand them to
`statistics.cluster_bootstrap`. A metric of the whole set is a float. What is undefined (no relevant item, a class that
does not occur, an empty set) is NaN and left out of means, unless the docstring says otherwise.
"""
