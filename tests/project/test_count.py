"""`make count` finds what it says that it finds."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "count.py"


@pytest.fixture(scope="module")
def count() -> ModuleType:
    spec = importlib.util.spec_from_file_location("count_tool", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["count_tool"] = module
    spec.loader.exec_module(module)
    return module


FILES = {
    "__init__.py": "from house.one import open_it\n",
    "one.py": "from house import two\n\n\ndef open_it(self, a, b, c, d): ...\n",
    "two.py": "def late():\n    from house.one import open_it as look\n",
    "room/__init__.py": "",
    "room/_own.py": "VALUE = 1\n",
    "room/door.py": "from house.room import _own\n",
    "other/__init__.py": "",
    "other/guest.py": "from house.room._own import VALUE\nfrom house.one import _hidden\n",
    "other/long.py": "def f(a, b, c, d, e):\n" + "    a\n" * 60 + "#\n" * 300,
}


def test_each_fault_is_found(count: ModuleType, tmp_path: Path) -> None:
    for name, text in FILES.items():
        file = tmp_path / "house" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    found = count.faults(count.modules(tmp_path / "house"))
    assert [*found.values()] == [
        ["house.one ⇄ house.two"],
        ["house.one ⇄ house.two"],
        ["361 house.other.long"],
        ["61 house.other.long.f"],
        ["5 house.other.long.f"],
        [
            "house.other.guest imports house.room._own.VALUE",
            "house.other.guest imports house.one._hidden",
        ],
        ["house.two imports house.one.open_it as look"],
    ]


def test_the_command_prints_every_count() -> None:
    done = subprocess.run([sys.executable, str(TOOL)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for words in ("src ", "earsight.methods", "import circles between files", "functions above 60"):
        assert words in done.stdout
