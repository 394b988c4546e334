"""The workloads of the simulated node, each a real process of its own: what a GPU node's jobs look like from outside.

`training`, `serving`, `notebook`, `burst` and `levels` are programs (`python -m energy_agent.sim.workloads.NAME --spec
FILE`); `worker` is what they share. The LLM engine is pure: `engine` schedules, `models` knows step times, `arrivals` draws
requests and `serving` shows what happened in vLLM's names. They import little, so that a node of many workloads starts
fast.
"""
