"""The sandbox: what code in it cannot reach, that it never outlives the trainer, and what crosses its socket."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment_trainer.sandbox import process, protocol
from alignment_trainer.sandbox.process import Sandbox, SandboxError, Source

SECONDS = 60.0


def run(text: str, **arguments: Any) -> list[Any]:
    """What the function ``f`` in ``text`` returns."""
    with closing(Sandbox(Source(textwrap.dedent(text), "f.py", "f"))) as sandbox:
        return sandbox.call(arguments, SECONDS)


def test_the_code_sees_no_credentials_and_works_in_a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ALIGNMENT_SECRET_1234ABCD", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "HTTPS_PROXY", "KUBERNETES_PORT"):
        monkeypatch.setenv(name, "hidden")
    (folder,) = run("""
        import os
        def f():
            assert "hidden" not in os.environ.values(), os.environ
            assert os.getcwd() == os.environ["HOME"] == os.environ["TMPDIR"]
            assert os.listdir() == []
            open("scratch", "w").write("x")
            return [os.getcwd()]
    """)
    path = Path(folder.removeprefix("str ").strip("'"))
    assert path.name.startswith("sandbox-")
    assert not path.exists()


def test_the_environment_of_the_trainer_cannot_be_read() -> None:
    """As in a Pod, without the capabilities that root has here."""
    script = """
        from tests.trainer.test_sandbox import run
        print(run("import os\\ndef f(): return [len(open(f'/proc/{os.getppid()}/environ').read())]"))
    """
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    command = [*drop, sys.executable, "-c", textwrap.dedent(script)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if "lacks Landlock" in result.stderr:
        pytest.skip("this kernel lacks Landlock")
    assert "RaisedError: raised PermissionError: [Errno 13]" in result.stderr, result


def test_the_sandbox_ends_with_the_trainer(tmp_path: Path) -> None:
    """Killed as by the kernel, the trainer closes nothing."""
    note = tmp_path / "pid"
    script = f"""
        from tests.trainer.test_sandbox import run
        text = "import os\\ndef f(path):\\n  open(path, 'w').write(str(os.getpid()))\\n  while True: pass"
        run(text, path={str(note)!r})
    """
    trainer = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)])
    try:
        deadline = time.monotonic() + SECONDS
        while not note.exists() or not note.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        trainer.kill()
        trainer.wait()
    wait_until_gone(int(note.read_text()))


def wait_until_gone(pid: int) -> None:
    """Wait until a process has ended, whether or not somebody has asked for its status."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            if "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text():
                return
        except (FileNotFoundError, ProcessLookupError):
            return
        time.sleep(0.02)
    raise AssertionError(f"process {pid} goes on")


@pytest.mark.parametrize("written", ["\\0\\0\\0\\2{}", "\\0\\0\\0\\2[]", "\\0\\0\\0\\1x", "\\377" * 4])
def test_code_that_writes_to_the_socket_is_a_failure_of_the_code(written: str) -> None:
    with pytest.raises(SandboxError, match="gave no answer that can be read"):
        run(f"""
            import os, sys
            def f():
                os.write(int(sys.argv[1]), b"{written}")
                return [1]
        """)


def test_an_answer_larger_than_allowed_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_MAX_ANSWER", 1000)
    with pytest.raises(SandboxError, match="is longer than the 1000 that are allowed"):
        run("def f(): return [1] * 1000")


TEXT = st.text(st.characters(codec="utf-8"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)


@given(values=st.lists(JSON, max_size=3))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_values_cross_the_socket_unchanged(values: list[Any]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sender = threading.Thread(target=protocol.send, args=(ours, values))
        sender.start()
        assert protocol.receive(theirs, deadline=time.monotonic() + SECONDS) == values
        sender.join()


@given(data=st.binary(max_size=64))
@settings(derandomize=True, deadline=None, max_examples=100)
def test_whatever_arrives_is_a_message_or_a_known_error(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.sendall(data)
        ours.close()
        with suppress(protocol.ProtocolError, EOFError):
            protocol.receive(theirs, limit=64, deadline=time.monotonic() + SECONDS)
