# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The process that reads: it may crash or hang, which the one that started it records.

Takes names of cases on its standard input, a line each, and answers each with "made" once the file is there
to be read, and with a line of JSON.
"""

import json
import os
import sys
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

    av.logging.set_level(None)
    cases = Cases(Path(folder))

    def answer(text: str) -> None:
        answers.write(f"{text}\n")
        answers.flush()

    for line in sys.stdin:
        result = cases.run(line.strip(), lambda: answer("made"))
        answer(json.dumps(asdict(result)))


if __name__ == "__main__":
    main(sys.argv[1])
