"""Commands of Slurm for tests: they run jobs on this machine, one minute of a job's time lasting a second.

Its time begins with the first file ``*.runs`` in the folder ``WORK_OF_JOBS``, however long a busy machine takes until
then.  The partition ``closed`` is refused.  A job that outlives its time is killed, as is one with
``constraint=doomed``.
"""

import os
import sys
from pathlib import Path

_COMMON = """
import json, os, shlex, signal, subprocess, sys, time
from pathlib import Path
state = Path({state!r})

def tell(job, what, **more):
    part = state / (job + ".part")
    part.write_text(json.dumps(dict(state=what, **more)))
    part.replace(state / (job + ".json"))
"""

_SBATCH = """
script = Path(sys.argv[-1]).resolve()
options = {}
for line in script.read_text().splitlines():
    if line.startswith("#SBATCH --"):
        name, _, value = shlex.split(line.removeprefix("#SBATCH --"))[0].partition("=")
        options[name] = value
if options.get("partition") == "closed":
    sys.exit("sbatch: error: invalid partition specified: closed\\nsbatch: error: Batch job submission failed")
number = str(int(time.time() * 1000) % 10**9)
(state / (number + ".asked")).write_text(json.dumps(options))
last = options.get("array", "").split("%")[0].split("-")[-1]
jobs = [number + "_" + str(k) for k in range(int(last) + 1)] if last else [number]
for job in jobs:
    tell(job, "PENDING")
    subprocess.Popen([sys.executable, str(state / "runner.py"), job, str(script), options["time"],
                      options.get("constraint", ""), options["error"]],
                     start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print("Submitted batch job", number)
"""

_RUNNER = """
job, script, minutes, constraint, error = sys.argv[1:]
number, _, place = job.partition("_")
array = dict(SLURM_ARRAY_JOB_ID=number, SLURM_ARRAY_TASK_ID=place) if place else {}
more = dict(SLURM_JOB_ID=number, SLURM_PROCID="0", SLURM_LOCALID="0", SLURM_NTASKS="1", SLURM_JOB_NUM_NODES="1",
            SLURM_NODEID="0", SLURM_JOB_NODELIST="here", SLURM_CPUS_PER_TASK="1", **array)
work, begun = Path(os.environ["WORK_OF_JOBS"]), None
process = subprocess.Popen(["bash", script], env=dict(os.environ, **more), start_new_session=True)
tell(job, "RUNNING", process=process.pid)
end = None
while process.poll() is None:
    time.sleep(0.05)
    if begun is None and any(work.glob("*.runs")):
        begun = time.monotonic()
    lasted = 0 if begun is None else time.monotonic() - begun
    if lasted > float(minutes):
        end = "TIMEOUT"
    elif constraint == "doomed" and lasted > 1:
        end = "OUT_OF_MEMORY"
    if end:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
if end:
    log = error.replace("%A", number).replace("%a", place).replace("%j", number)
    with open(log, "a") as file:
        file.write("slurmstepd: error: *** JOB " + job + " ON here CANCELLED: " + end + " ***\\n")
tell(job, end or ("COMPLETED" if process.returncode == 0 else "FAILED"))
"""

_SRUN = """
words = sys.argv[1:]
streams = {}
while words and words[0].startswith("-"):
    name = words.pop(0)
    if name in ("--output", "--error"):
        text = words.pop(0).replace("%t", "0").replace("%j", os.environ["SLURM_JOB_ID"])
        text = text.replace("%A", os.environ["SLURM_JOB_ID"]).replace("%a", os.environ.get("SLURM_ARRAY_TASK_ID", ""))
        streams[name] = open(text, "a")
sys.exit(subprocess.call(words, stdout=streams["--output"], stderr=streams["--error"]))
"""

_SACCT = """
print("JobID|State|NodeList")
for path in state.glob("*.json"):
    print(path.stem + "|" + json.loads(path.read_text())["state"] + "|here")
"""

_SQUEUE = """
for path in state.glob("*.json"):
    if json.loads(path.read_text())["state"] in ("PENDING", "RUNNING"):
        print(path.stem.split("_")[0], path.stem.split("_")[0])
"""

_SCANCEL = """
told = json.loads((state / (sys.argv[-1] + ".json")).read_text())
if "process" in told:
    os.killpg(told["process"], signal.SIGKILL)
"""


def install(folder: Path) -> str:
    """Write the commands into a folder; what PATH must be for them to be found."""
    state = folder / "state"
    state.mkdir(parents=True)
    common = _COMMON.format(state=str(state))
    (state / "runner.py").write_text(common + _RUNNER)
    commands = {"sbatch": _SBATCH, "srun": _SRUN, "sacct": _SACCT, "squeue": _SQUEUE, "scancel": _SCANCEL}
    for name, text in commands.items():
        path = folder / name
        path.write_text(f"#!{sys.executable}\n{common}{text}")
        path.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"
