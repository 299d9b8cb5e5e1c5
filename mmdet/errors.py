"""The errors meant for the user. Programs show them in one line; any other is a bug and shows its traceback."""


class UserError(ValueError):
    """A mistake in what the user brings. The message names the file, entry, key or image, and the cure."""


class MissingFileError(UserError, FileNotFoundError):
    """A file or folder that the user names does not exist."""
