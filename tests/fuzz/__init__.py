"""Fuzz targets: everything that reads bytes which somebody else wrote.

target.py      what a target is, and the corpus that belongs to it
targets/       the targets, by who sends the bytes
__main__.py    `make fuzz`: coverage-guided runs of all targets, with atheris
minimize.py    what of their inputs is worth keeping
one.py         one target in a process of its own
test_corpus.py the whole corpus, in `make test`

A target's docstring says what must hold for any input. Nothing but the documented errors may be raised.
"""
