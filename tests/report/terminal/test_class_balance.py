"""The images of each class as a table."""

import io

from rich.console import Console

from hwcls.report.terminal.class_balance import BAR, print_class_balance


def printed(classes, **counts):
    console = Console(file=io.StringIO(), width=100)
    print_class_balance(classes, counts, console)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_few_classes_in_their_order():
    assert printed(["猫", "[b]dog"], train=[1000, 500], val=[10, 0]) == [
        "class   train  val",
        "猫      1,000   10  " + "█" * BAR,
        "[b]dog    500    0  " + "█" * (BAR // 2),
    ]


def test_of_many_the_largest_and_the_smallest():
    lines = printed([f"c{i}" for i in range(200)], train=range(200))
    assert [line.split()[0] for line in lines] == [
        "class",
        *(f"c{i}" for i in range(199, 189, -1)),
        "...",
        *(f"c{i}" for i in range(9, -1, -1)),
    ]
    assert "... 180 classes between these" in lines[11]
    assert "... 1 class between these" in printed([f"c{i}" for i in range(21)], train=range(21))[11]
