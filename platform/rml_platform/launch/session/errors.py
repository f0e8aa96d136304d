"""Why there is no Ray, or none any more."""

from rml_trainers.errors import RmlError


class ClusterError(RmlError):
    """Ray could not be started here, or the cluster not be reached."""


class ClusterLostError(ClusterError):
    """Ray died under a launch; what was done is in the run folders, and launching again goes on."""

    exit_code = 75
    """`EX_TEMPFAIL` of sysexits.h: try again, nothing has to be changed."""
