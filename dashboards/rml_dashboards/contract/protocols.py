"""The protocol of each number: a run records that of its first network's final scores, the others
follow from it."""

from rml_dashboards.contract.metric_keys import FINAL, NETWORK, VAL


def protocol_of(recorded: str, metric: str) -> str:
    """Protocol id of one metric of a run.

    `recorded` is `<data and inference>/<first network>/<moment>`. `final/<network>/…` was made by
    that network, and `val/…` is the last value of a curve, so its moment is `last`. Anything else
    is what was recorded.
    """
    parts = recorded.split("/")
    (place, *rest) = metric.split("/")
    if len(parts) != 3 or place not in (FINAL, VAL):
        return recorded
    images, network, moment = parts
    if rest and NETWORK.fullmatch(rest[0]):
        network = rest[0]
    return f"{images}/{network}/{'last' if place == VAL else moment}"


def recorded_key(recorded: str, metric: str) -> str:
    """Key under which a metric was recorded: the first network's scores carry no network in
    theirs."""
    place, *rest = metric.split("/")
    parts = recorded.split("/")
    if len(parts) == 3 and place in (FINAL, VAL) and len(rest) > 1 and rest[0] == parts[1]:
        return "/".join([place, *rest[1:]])
    return metric


def short_keys(metric: str) -> tuple[str, ...]:
    """Keys under which a metric may be recorded instead, whichever network was scored first."""
    place, *rest = metric.split("/")
    if place in (FINAL, VAL) and len(rest) > 1 and NETWORK.fullmatch(rest[0]):
        return ("/".join([place, *rest[1:]]),)
    return ()
