"""``worklist export``: each target's own checker accepts what is printed, and nothing secret is in it."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import Any

import kubernetes_validate
import pytest
import yaml

from worklist.cli.deployment import TARGETS, Deployment, configuration
from worklist.core.errors import ConfigError

from .conftest import Folder

HOSTILE = "50% $HOME $(x) it's"
"""What a folder or a value may hold: all that one or another of the targets would take for its own syntax."""


def deployment(**changes: Any) -> Deployment:
    """Return a deployment on a server, with `changes`."""
    plain = Deployment(
        name="shop",
        app="shop.tasks:app",
        arguments=["--workers=2"],
        beat=True,
        grace=30.0,
        python=sys.executable,
        directory="/srv/shop",
        user="shop",
        image="shop:1",
        environment={},
        secrets={"WORKLIST_URL": "postgresql://shop:***@db/shop"},
        file=None,
        fixed=False,
    )
    return plain._replace(**changes)


ON_A_FILE = {
    "environment": {"WORKLIST_URL": "sqlite:///jobs.db?durability=full", "WORKLIST_LEASE": "10s"},
    "secrets": {},
    "file": PurePosixPath("/srv/shop/jobs.db"),
}
CASES = [
    deployment(),
    deployment(**ON_A_FILE),
    deployment(secrets={}, fixed=True),
    deployment(environment={"WORKLIST_RESULTS": "none"}, secrets={"WORKLIST_URL": "a", "WORKLIST_SECRET": "***"}),
    deployment(
        directory=f"/srv/{HOSTILE}",
        arguments=[f"--queues={HOSTILE}"],
        environment={"WORKLIST_URL": "sqlite:///50%25.db?durability=full"},
        secrets={},
        file=PurePosixPath(f"/srv/{HOSTILE}/50%.db"),
    ),
]
NAMES = ["server", "file", "fixed", "secrets", "hostile"]
each_case = pytest.mark.parametrize("case", CASES, ids=NAMES)


# -- each with the checker of its own tool ------------------------------------------------------------------------


def complaints_of_systemd(unit: Path) -> list[str]:
    """What ``systemd-analyze verify`` says of a unit. Its exit code does not tell, since systemd reads on."""
    if not shutil.which("systemd-analyze"):
        assert os.environ.get("CI") != "true", "systemd-analyze is missing; .ci/run installs it"
        pytest.skip("systemd-analyze is not installed (Debian: apt-get install systemd)")
    checked = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False, timeout=60
    )
    return [line for line in checked.stderr.splitlines() if unit.name in line]


@each_case
def test_systemd_accepts_it(case: Deployment, tmp_path: Path) -> None:
    unit = tmp_path / f"worklist-test-{tmp_path.name}.service"
    unit.write_text(configuration("systemd", case))
    assert complaints_of_systemd(unit) == []


def test_systemd_finds_a_program_in_a_folder_of_any_name(tmp_path: Path) -> None:
    """It looks for the program, so here its own reading of the quotes is put to the test."""
    python = tmp_path / HOSTILE.replace("'", "") / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    unit = tmp_path / f"worklist-test-{tmp_path.name}.service"
    unit.write_text(configuration("systemd", deployment(python=str(python))))
    assert complaints_of_systemd(unit) == []
    python.unlink()
    assert complaints_of_systemd(unit)


@pytest.mark.parametrize(
    ("right", "wrong"), [("KillMode=mixed", "KillMode=gently"), ("RestartSec", "RestartPause"), ("python", "pythn")]
)
def test_systemd_would_complain(right: str, wrong: str, tmp_path: Path) -> None:
    unit = tmp_path / f"worklist-test-{tmp_path.name}.service"
    unit.write_text(configuration("systemd", deployment()).replace(right, wrong))
    assert complaints_of_systemd(unit)


@each_case
def test_compose_has_its_schema(case: Deployment, tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(configuration("compose", case))
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@each_case
def test_kubernetes_has_its_schemas(case: Deployment) -> None:
    documents = list(yaml.safe_load_all(configuration("kubernetes", case)))
    for document in documents:
        kubernetes_validate.validate(document, "1.30", strict=True)
    assert [d["kind"] for d in documents] == ["PersistentVolumeClaim"] * (case.file is not None) + ["Deployment"]


# -- what is in it ------------------------------------------------------------------------------------------------


def compose(case: Deployment) -> dict[str, Any]:
    return yaml.safe_load(configuration("compose", case))["services"][case.name]  # type: ignore[no-any-return]


def kubernetes(case: Deployment) -> dict[str, Any]:
    *_, found = yaml.safe_load_all(configuration("kubernetes", case))
    return found["spec"]  # type: ignore[no-any-return]


COMMAND = ["python", "-m", "worklist", "up", "shop.tasks:app", "--workers=2"]


def test_a_server() -> None:
    service = compose(deployment())
    assert service["command"] == COMMAND
    assert service["environment"] == {"WORKLIST_URL": "${WORKLIST_URL:?is not set; write it in .env}"}
    assert "volumes" not in service
    spec = kubernetes(deployment())
    assert "strategy" not in spec
    (container,) = spec["template"]["spec"]["containers"]
    assert container["command"] == COMMAND
    assert container["env"] == [
        {"name": "WORKLIST_URL", "valueFrom": {"secretKeyRef": {"name": "shop", "key": "WORKLIST_URL"}}}
    ]
    unit = configuration("systemd", deployment())
    assert "\nAfter=network-online.target\n" in unit
    assert "\nEnvironmentFile=/etc/worklist/shop.env\n" in unit


def test_a_file_gets_a_volume() -> None:
    service = compose(deployment(**ON_A_FILE))
    assert service["environment"] == {
        "WORKLIST_URL": "sqlite:////data/jobs.db?durability=full",
        "WORKLIST_LEASE": "10s",
    }
    assert service["volumes"] == [{"type": "volume", "source": "shop-jobs", "target": "/data"}]
    claim, made = yaml.safe_load_all(configuration("kubernetes", deployment(**ON_A_FILE)))
    spec = made["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    pod = spec["template"]["spec"]
    assert pod["containers"][0]["volumeMounts"] == [{"name": "jobs", "mountPath": "/data"}]
    assert pod["volumes"] == [{"name": "jobs", "persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}}]
    unit = configuration("systemd", deployment(**ON_A_FILE))
    assert "\nRequiresMountsFor=/srv/shop\n" in unit
    assert "\nEnvironment=WORKLIST_URL=sqlite:///jobs.db?durability=full\n" in unit


@pytest.mark.parametrize(
    ("file", "folder"), [("/srv/shop/var/jobs.db", "/app/var"), ("/var/lib/shop/jobs.db", "/var/lib/shop")]
)
def test_a_file_that_the_code_names_stays_where_it_is(file: str, folder: str) -> None:
    case = deployment(secrets={}, file=PurePosixPath(file), fixed=True)
    assert compose(case)["volumes"][0]["target"] == folder
    assert "environment" not in compose(case)


def test_a_file_that_the_code_names_beside_itself_is_refused_for_containers() -> None:
    case = deployment(secrets={}, file=PurePosixPath("/srv/shop/jobs.db"), fixed=True)
    for target in ("compose", "kubernetes"):
        with pytest.raises(ConfigError, match=r"beside itself, which a container loses; leave the URL out of the code"):
            configuration(target, case)
    assert "RequiresMountsFor=/srv/shop\n" in configuration("systemd", case)


@pytest.mark.parametrize(
    ("target", "line"),
    [
        ("systemd", "TimeoutStopSec=100"),
        ("supervisor", "stopwaitsecs=100"),
        ("compose", "stop_grace_period: 100s"),
        ("kubernetes", "terminationGracePeriodSeconds: 100"),
    ],
)
def test_a_stop_waits_for_longer_than_the_grace_time(target: str, line: str) -> None:
    lines = [text.strip() for text in configuration(target, deployment(grace=90.0)).splitlines()]
    assert line in lines
    (why,) = [text for text in lines if "(--grace)" in text]
    assert why.lstrip("#; ") == "Running jobs have 90 s to end (--grace); 10 s more to hand back what did not."


def test_words_with_a_meaning_of_their_own_are_taken_literally() -> None:
    hostile = CASES[NAMES.index("hostile")]
    word = f"--queues={HOSTILE}"
    unit = configuration("systemd", hostile)
    assert f'"{word.replace("%", "%%").replace("$", "$$")}"' in unit
    assert f"\nWorkingDirectory=/srv/{HOSTILE.replace('%', '%%')}\n" in unit
    (command,) = re.findall(r"^command=(.*)$", configuration("supervisor", hostile), re.MULTILINE)
    assert shlex.split(command % {})[-1] == word
    assert compose(hostile)["command"][-1].replace("$$", "$") == word
    (container,) = kubernetes(hostile)["template"]["spec"]["containers"]
    assert container["command"][-1].replace("$$(", "$(") == word


@pytest.mark.parametrize(
    ("target", "changes", "told"),
    [
        ("supervisor", {"directory": "/srv/shop #2"}, "has a blank before a # or a ;"),
        ("supervisor", {"environment": {"WORKLIST_LEASE": 'a"b'}}, "WORKLIST_LEASE is .* cannot hold quotes"),
        ("systemd", {"python": "/srv/it's/python"}, "has a quote or a backslash, and systemd starts no such program"),
    ],
)
def test_what_a_target_cannot_hold_is_refused(target: str, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        configuration(target, deployment(**changes))


# -- the command --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
def test_the_app_as_it_is_configured(folder: Folder, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKLIST_URL", "sqlite:///jobs.db")
    monkeypatch.setenv("WORKLIST_KEEP_RESULTS", "3d")
    monkeypatch.setenv("WORKLIST_SECRET", "do not tell")
    text = folder.ok("export", target, "tasks:app", "--workers", "3", "--queues", "mail,spare", "--grace", "1m")
    assert "do not tell" not in text
    assert "WORKLIST_SECRET" in text
    assert "jobs.db" in text
    assert re.search(r'WORKLIST_KEEP_RESULTS\W+(value\W+)?3d"?', text)
    for word in ("up", "tasks:app", "--workers=3", "--queues=mail,spare", "--grace=1m"):
        assert re.search(rf'[ "]{word}[ ",\]\n]', text), word
    assert "--threads" not in text, "what was not said is not written down"
    assert "70" in text
    assert not (folder.path / "jobs.db").exists(), "exporting must not make the file"


def test_the_name_is_made_of_the_module(folder: Folder) -> None:
    folder.write("Shop_tasks.py", "from worklist import Worklist\napp = Worklist()\n")
    assert folder.ok("export", "systemd", "Shop_tasks:app").startswith("# shop-tasks.service: workers and a beat of")
    assert folder.ok("export", "systemd", "Shop_tasks", "--no-beat").startswith("# shop-tasks.service: workers of")
    assert 'image: "registry/shop:2"' in folder.ok("export", "compose", "Shop_tasks", "--image", "registry/shop:2")


def test_refusals(folder: Folder) -> None:
    assert "'systmd' is not one of 'systemd'" in folder.error("export", "systmd", "tasks:app", code=2)
    assert "the name is 'Shop'; expected up to 40 of a-z" in folder.error(
        "export", "systemd", "tasks:app", "--name", "Shop"
    )
    assert "no task declares the queue 'male' (did you mean 'mail'?)" in folder.error(
        "export", "systemd", "tasks:app", "--queues", "male"
    )
    assert "--grace is 'soon'" in folder.error("export", "systemd", "tasks:app", "--grace", "soon", code=2)
    folder.write("private.py", "from worklist import Worklist\napp = Worklist('memory://')\n")
    assert "live in the process that puts them" in folder.error("export", "systemd", "private:app")
    assert "has a character that a configuration cannot hold" in folder.error(
        "export", "compose", "tasks:app", "--image", "a\nb"
    )


def test_a_url_in_the_code_is_not_a_variable(folder: Folder) -> None:
    folder.write("fixed.py", "from worklist import Worklist\napp = Worklist('sqlite:///var/jobs.db')\n")
    text = folder.ok("export", "compose", "fixed:app")
    assert yaml.safe_load(text)["services"]["fixed"]["volumes"][0]["target"] == "/app/var"
    assert "# The code says where the jobs are, so WORKLIST_URL would mean nothing here." in text
