"""What can be wrong with a run, its files and its terminal: errors whose message is one line for a person."""


class RunError(Exception):
    """A run folder that cannot be used; the message says what, where and what to do."""


class LogError(Exception):
    """A CSV file that is not what a run writes; the message names the file and the line."""


class WorkerError(Exception):
    """Several processes that cannot train together; the message says which worker, why and what to do."""


class OutputError(Exception):
    """Standard output that is closed, or whose disk is full; the message says what was saved."""
