"""slurmctld's mail program with the environment that slurmctld gives: a mail is sent whatever the energy does."""

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy/slurm/wattlens-mail.sh"
ENDED = "Slurm Job_id=7 Name=train Ended, Run time 00:01:00, COMPLETED, ExitCode 0"


@pytest.fixture
def send(tmp_path):
    """Run the script; returns the arguments of wattlens ("" if it did not run), and those of mail with its text."""
    (tmp_path / "wattlens").write_text(f'#!/bin/sh\necho "$*" > {tmp_path}/asked\ncat {tmp_path}/energy\n')
    (tmp_path / "mail").write_text(f'#!/bin/sh\n{{ echo "$*"; cat; }} > {tmp_path}/sent\n')
    for name in ("wattlens", "mail"):
        (tmp_path / name).chmod(0o755)
    words = {
        "WATTLENS_BIN": tmp_path,
        "WATTLENS_MAIL": tmp_path / "mail",
        "WATTLENS_JOB_SOURCE": '"--prometheus http://127.0.0.1:9090"',
        "WATTLENS_CARBON": "380",
        "WATTLENS_MAIL_SETTLE_S": "0",
    }

    def run(mail_type, job="7", energy="Energy Utilized: 27.00 kJ\n", **more):
        (tmp_path / "energy").write_text(energy) if energy else (tmp_path / "energy").unlink(missing_ok=True)
        (tmp_path / "slurm.env").write_text("".join(f"{name}={value}\n" for name, value in {**words, **more}.items()))
        environ = {"WATTLENS_ENV": str(tmp_path / "slurm.env"), "SLURM_JOB_ID": job, "SLURM_JOB_MAIL_TYPE": mail_type}
        command = ["/bin/sh", str(SCRIPT), "-s", ENDED, "alice"]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        asked = (tmp_path / "asked").read_text().strip() if (tmp_path / "asked").exists() else ""
        (tmp_path / "asked").unlink(missing_ok=True)
        arguments, _, text = (tmp_path / "sent").read_text().partition("\n")
        assert arguments == f"-s {ENDED} alice"
        return asked, text

    return run


@pytest.mark.parametrize("mail_type", ["Ended", "Failed"])
def test_at_the_end_of_a_job_its_energy_is_in_the_mail(send, mail_type):
    asked, text = send(mail_type)
    assert asked == "job slurm/7 --prometheus http://127.0.0.1:9090 --carbon 380 --seff"
    assert text == "Energy Utilized: 27.00 kJ\n"


def test_without_energy_the_mail_names_it_as_not_available(send):
    assert send("Ended", energy="")[1] == "Energy: not available\n"


@pytest.mark.parametrize(("mail_type", "job"), [("Began", "7"), ("Ended", "7; reboot"), ("Ended", ""), ("", "7")])
def test_other_mails_are_sent_as_they_are(send, mail_type, job):
    assert send(mail_type, job) == ("", "\n")


def test_without_a_source_nothing_is_read(send):
    assert send("Ended", WATTLENS_JOB_SOURCE="") == ("", "\n")
