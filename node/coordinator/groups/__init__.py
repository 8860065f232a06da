"""What groups are, as pure functions: of a group's committed state, a request, topics and a time.

A step answers with a ``Decision`` or refuses with a class of ``floodmark.errors``; it changes nothing.
"""
