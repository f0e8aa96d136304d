"""The one error of this package that is meant for a person."""


class DashboardError(Exception):
    """A table that cannot be made: names what is wrong (store, ledger, specification) and how to
    mend it."""
