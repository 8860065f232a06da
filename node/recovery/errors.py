"""Why a recovery does not go on."""


class NotRecoverable(Exception):
    """The text says why, and what to do. Nothing was changed."""
