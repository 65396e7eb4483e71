"""A real Slurm of one node, as whoever runs the tests; for tests of the engine that uses it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

DAEMONS = ("munged", "slurmctld", "slurmd")
COMMANDS = ("sbatch", "srun", "scontrol", "squeue", "scancel")
PR_SET_PDEATHSIG = 1
#: Where daemons are that are not on a plain user's PATH.
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"

CONFIGURATION = """\
ClusterName=amendbench
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
# How long a credential lives is also how long a job that is put back waits: seconds, not two minutes.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerType=sched/builtin
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0
MpiDefault=none
PlugStackConfig={folder}/plugstack.conf
MailProg=/bin/true
KillWait=2
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def until(true: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for something; AssertionError that says what did not come."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"waited {seconds} s for: {what}"
        time.sleep(0.1)


def end_with_parent() -> None:
    """Have the kernel end this process when the tests are killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Slurm:
    """A controller, a node and their authentication in a folder; ``environment`` has what commands need."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "PATH": PATH, "SLURM_CONF": str(folder / "slurm.conf")}
        self.daemons: list[subprocess.Popen[bytes]] = []
        self.told: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start the daemons; AssertionError if the node does not come up."""
        self.folder.chmod(0o711)  # munge wants its socket where everybody can reach it
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        (self.folder / "plugstack.conf").touch()
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        (self.folder / "slurm.conf").write_text(self._configuration())
        files = [f"--{what}-file={self.folder}/munged.{what}" for what in ("pid", "log", "seed")]
        self._daemon("munged", "--foreground", f"--socket={self.folder}/munge.socket", f"--key-file={key}", *files)
        until((self.folder / "munge.socket").exists, 10, "munged")
        self._daemon("slurmctld", "-D")
        self._daemon("slurmd", "-D", "-N", self.host)
        until(lambda: self.run("sinfo", "-h", "-o", "%T").strip() == "idle", 20, f"the node; see {self.folder}")

    until = staticmethod(until)

    @property
    def host(self) -> str:
        return socket.gethostname().partition(".")[0]

    def run(self, *command: str) -> str:
        """What a command of Slurm says."""
        return subprocess.run(
            command, env=self.environment, cwd=self.folder, capture_output=True, text=True, check=False, timeout=20
        ).stdout

    def tell(self, *command: str) -> None:
        """Start a command that may find its job on the way out, and must not try again when the job is back."""
        self.told.append(subprocess.Popen(["timeout", "2", *command], env=self.environment, cwd=self.folder))

    def stop(self) -> None:
        """End all jobs and daemons, whatever state they are in."""
        if len(self.daemons) == len(DAEMONS):
            self.run("scancel", "--state=PENDING")
            self.run("scancel", "--state=RUNNING")
            with contextlib.suppress(AssertionError):
                until(lambda: not self.run("squeue", "-h").strip(), 10, "the end of all jobs")
        for each in self.told:
            each.wait()
        for daemon in reversed(self.daemons):
            daemon.terminate()
            try:
                daemon.wait(5)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def _daemon(self, name: str, *options: str) -> None:
        found = shutil.which(name, path=PATH)
        assert found is not None
        with (self.folder / f"{name}.out").open("wb") as output:
            started = subprocess.Popen(
                [found, *options],
                env=self.environment,
                cwd=self.folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=end_with_parent,
            )
        self.daemons.append(started)

    def _configuration(self) -> str:
        with socket.socket() as one, socket.socket() as other:
            for bound in (one, other):
                bound.bind(("127.0.0.1", 0))
            ports = one.getsockname()[1], other.getsockname()[1]
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
        return CONFIGURATION.format(
            host=self.host, ports=ports, user=user, folder=self.folder, cpus=os.cpu_count(), memory=memory * 9 // 10
        )


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    """A running Slurm that this process's commands use; the test is skipped where Slurm is not installed."""
    missing = [name for name in (*DAEMONS, *COMMANDS) if shutil.which(name, path=PATH) is None]
    if missing:
        pytest.skip(f"Slurm is not installed here: no {', '.join(missing)}")
    pytest.importorskip("submitit", reason="submitit is not installed here")
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # a short path: sockets have no more than 100 characters
    cluster = Slurm(folder)
    try:
        cluster.start()
        for name in ("PATH", "SLURM_CONF"):
            monkeypatch.setenv(name, cluster.environment[name])
        yield cluster
    finally:
        try:
            cluster.stop()
        finally:
            shutil.rmtree(folder, ignore_errors=True)
