"""Running the trials of an experiment: designs, plan, drivers, resumption.

    designs     which conditions there are: names, or levels of factors
    plan        which trials those make with the items, and in which order
    run         what is left of the plan: hands out trials, keeps what came of them, watches the budget
    threads, tasks    who calls the function: this thread or several, an event loop
    trials      what the run was: its plan, and how each trial ended
    running     `Experiment.run_trials` and `.arun_trials`

The room lies below `handle`: it knows an experiment by `plan.Runs`, not by its class.
"""
