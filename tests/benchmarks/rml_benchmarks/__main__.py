"""`python -m rml_benchmarks`: the benchmarks that need neither Ray nor MLflow."""

import sys

from rml_benchmarks.command import main
from rml_trainers.errors import RmlError

if __name__ == "__main__":
    try:
        main()
    except RmlError as error:
        print(f"rml: {error}", file=sys.stderr)
        sys.exit(2)
