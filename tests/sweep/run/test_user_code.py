"""A user's model in the processes that train: it ends the process, it prints without end."""

import pytest

from hwcls.models.user import output as user_output

MODEL = """
import os
import sys
from torch import nn

class Net(nn.Linear):
    fault = ""

    def forward(self, x):
        if len(x) > 2:  # in training, not in the checks before it
            if self.fault == "sys.exit":
                sys.exit(0)
            if self.fault == "os._exit":
                os._exit(0)
            print("x" * 5000)
        return super().forward(x.flatten(1))

def build(classes, channels, image_size, fault):
    model = Net(channels * image_size**2, classes)
    model.fault = fault
    return model
"""


@pytest.mark.slow
def test_a_model_that_ends_the_process_fails_and_one_that_prints_is_cut_short(run, tiny, tmp_path):
    (tmp_path / "net.py").write_text(MODEL)
    own = {"name": "net.py:build"}
    choice = {fault.replace(".", ""): {**own, "fault": fault} for fault in ("sys.exit", "os._exit", "print")}
    model = {"choice": choice}
    optimizer = {"name": "adam", "lr": 0.01}
    outcome, output = run(
        tiny(run_cap=3, max_restarts=2, parameters={"model": model, "optimizer": optimizer, "epochs": 2})
    )
    results = {number: trial.result() for number, trial in outcome.folder.trials().items()}
    failed = [result.error for result in results.values() if result.status == "failed"]
    assert sorted(outcome.failed) == ["trials/0", "trials/1"]
    assert all("the model ends the process: " in error and "(net.py, line 1" in error for error in failed)
    assert {"sys.exit(0)" in error for error in failed} == {True, False}
    assert "is restarted" not in output, "a retry would give the same"
    assert results[2].status == "complete"
    assert output.count("characters were left out") == 1


def test_only_so_much_of_what_is_printed_is_passed_on(capsys):
    import sys
    import threading

    user_output.start_counting()
    with user_output.bounded_output():
        print("a" * 3000)
        print("b" * 3000, file=sys.stderr)
        other = threading.Thread(target=lambda: print("of another thread"))
        other.start()
        other.join()
    with user_output.bounded_output():
        print("c" * 3000)
    out, err = capsys.readouterr()
    assert out == "of another thread\n"
    assert (err.count("a"), err.count("b"), "c" * 10 in err) == (3003, 999, False)
    assert err.endswith("\nhwcls: the model's code prints a lot: 2,002 characters were left out\n")
    assert user_output.dropped_characters() == 2002 + 3001
    user_output.start_counting()
    with user_output.bounded_output():
        print("d")
    assert capsys.readouterr().err == "d\n"
