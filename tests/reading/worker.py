# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The process that reads: it may crash or hang, which the one that started it records.

Takes names of cases on its standard input, a line each, and answers each with "made" once the file is there
to be read, "read" before it is compared with the truth, and a line of JSON at the end.
"""

import json
import os
import sys
import traceback
import types
from dataclasses import asdict
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main(folder: str) -> None:
    os.environ["SVT_LOG"] = "0"
    sys.path.insert(0, str(HERE))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # encoders print to it
    if "torch" not in sys.modules:  # the reader alone, without waiting for torch
        package = types.ModuleType("hf_rlt")
        package.__path__ = [str(HERE.parents[1] / "src" / "hf_rlt")]
        sys.modules["hf_rlt"] = package
    import av
    from cases import Cases
    from check import Result

    av.logging.set_level(None)
    cases = Cases(Path(folder))

    def answer(text: str) -> None:
        answers.write(f"{text}\n")
        answers.flush()

    for line in sys.stdin:
        name = line.strip()
        try:
            result = cases.run(name, answer)
        except Exception:
            result = Result(name, other=1, notes=["the harness itself failed", traceback.format_exc()])
        answer(json.dumps(asdict(result)))


if __name__ == "__main__":
    main(sys.argv[1])
