"""One experiment over several processes and machines.

carrier     what travels: an experiment's id, its store and the labels that hold, as text
joining     `join_experiment`: record into an experiment that another process began
children    `child_env` for processes that are started, `carry` for functions that run elsewhere
starting    what `configure` does when the environment names an experiment
disabled    the recorder that records nothing, where the environment says so
"""
