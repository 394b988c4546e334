"""`wattlens slurm`: the energy of ended jobs in Slurm's accounting record, once per job.

`accounting` runs sacct and sacctmgr and parses what they print; `record` chooses the jobs and writes the text.
"""
