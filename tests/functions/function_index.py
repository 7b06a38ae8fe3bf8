"""`python -m tests.functions.function_index`: prints the functions as Microsoft's worker indexes them, as JSON."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

from azure_functions_runtime import functions, loader
from azure_functions_runtime.bindings.meta import load_binding_registry

APP = Path(__file__).parents[2]
# What the loader fills in, in place of the generated protobuf classes of the same names.
PROTOS = SimpleNamespace(
    BindingInfo=type("BindingInfo", (SimpleNamespace,), {"undefined": 0, "in": 0, "out": 1, "inout": 2}),
    RpcFunctionMetadata=SimpleNamespace,
    RpcRetryOptions=SimpleNamespace,
)


def main() -> None:
    load_binding_registry()
    indexed = loader.index_function_app(str(APP / "function_app.py"))
    metadata, _ = loader.process_indexed_function(PROTOS, functions.Registry(), indexed, str(APP))
    found = [
        {
            "name": each.name,
            "bindings": [json.loads(text) for text in each.raw_bindings],
            "retry": vars(each.retry_options) if each.retry_options else None,
        }
        for each in metadata
    ]
    sys.stdout.write(json.dumps(found, default=str))


if __name__ == "__main__":
    main()
