"""Print `nvml_names.h`: every function that pynvml looks up in the driver's library.

Run as `python nvml_names.py > nvml_names.h` after raising the supported nvidia-ml-py version.
"""

import re
import sys
from importlib.util import find_spec
from pathlib import Path

HEADER = """\
/* Every function that pynvml (nvidia-ml-py 13.615) looks up in the library, from `nvml_names.py`. The names are facts of the
 * interface that NVIDIA's nvml.h defines. Functions that no other file defines return NOT_SUPPORTED (nvml_stubs.c).
 */
#define NVML_NAMES(X) \\
"""


def names() -> list[str]:
    """The names, sorted."""
    spec = find_spec("pynvml")
    if spec is None or spec.origin is None:
        raise SystemExit("nvml_names: nvidia-ml-py is not installed")
    source = Path(spec.origin).read_text(encoding="utf-8")
    return sorted(set(re.findall(r'_nvmlGetFunctionPointer\(\s*"(nvml\w+)"', source)))


if __name__ == "__main__":
    sys.stdout.write(HEADER + "".join(f"    X({name}) \\\n" for name in names()) + "\n")
