"""`rml bench`: speed and memory as ratios measured in one run."""

import typer

PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
"""Every word goes to the benchmark's own command line, which runs without the platform too."""


def bench(context: typer.Context) -> None:
    """Measure steps, reading, evaluation, p⁰, growth and cells; [bold]rml bench --help[/] lists the options."""
    from rml_platform.bench_cell import run as run_cell
    from rml_trainers.bench.command import Part, main

    main(context.args, {"cell": Part("Cost of a cell", run_cell)})
