"""`rml dashboard`: a page that shows studies while they run."""

from typing import Annotated

import typer

from rml_platform.commands.options import DEFAULT_OUT, Out, Storage

Studies = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME…",
        help="Names of studies, or NAME:PROFILE; without any, all that were planned under --out.",
    ),
]
Host = Annotated[
    str, typer.Option(help="Address to listen on; another than this machine's own needs a token.")
]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")]
Token = Annotated[
    str | None,
    typer.Option(
        envvar="RML_DASHBOARD_TOKEN",
        help="What a browser has to know; made and printed where it is needed and none is given.",
    ),
]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="A further name of this machine. May be repeated."),
]
TableRecords = Annotated[
    str,
    typer.Option(
        help="Where tables of results, and runs that have no folder, are read from: an MLflow "
        "server or database, or none: the run folders, like all else."
    ),
]


def dashboard(
    studies: Studies = None,
    out: Out = DEFAULT_OUT,
    storage: Storage = None,
    host: Host = "127.0.0.1",
    port: Port = 8300,
    token: Token = None,
    allow_host: AllowHost = None,
    tracking_uri: TableRecords = "none",
) -> None:
    """Show studies in a browser while they run: states, tables, curves, pictures, comparisons.

    Goes by the written plans and the run folders, and changes nothing. Reached from this machine
    only, unless --host says otherwise.
    """
    from rml_dashboards.live.web.access import Access
    from rml_dashboards.live.web.serving import Shown, open_live, serve

    access = Access.of(host, token, allow_host or ())
    shown = Shown(
        out=out,
        storage=storage or str(out),
        studies=tuple(studies or ()),
        tracking_uri=tracking_uri,
    )
    serve(open_live(shown), access, port, typer.echo)
