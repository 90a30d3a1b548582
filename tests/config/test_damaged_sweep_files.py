"""Sweep files of random pieces of YAML: each is read, or refused in one line."""

import random
import re

import pytest

from hwcls.config.sweep_file import load_sweep
from hwcls.errors import UserError

SWEEP = """name: s
run_cap: 4
method: tpe
compare: optimizer
first: [{optimizer: adam}]
parameters:
  data: {name: digits, batch_size: 64}
  model: {name: mlp, width: {min: 8, max: 64}, head: {depth: 1}}
  optimizer: {choice: {adam: {lr: 1e-3}, sgd: {lr: 1e-2}}}
  epochs: 1
presets: {quick: {parameters.epochs: 1}}
""".splitlines()
SCALARS = """
    1 -1 0 1.5 .inf -.inf .nan 1e400 010 1:30 2026-01-31 2026-99-99 0b 0x 0b_ 1e5 -0.0 1_000 1e308 5e-324 ~ null None
    true yes no '32' 'None' '' = << "\\0" "\\e[31m" "\\ud800" é a:b ? @x %x : :: inf nan 2h 1e19 9223372036854775807
    adam AdamW mlp timm resnet18 file.py:build digits val/accuracy tpe grid bayes *a *zz '<<'
    !!int|x !!int|'' !!float|x !!float|'' !!bool|x !!bool|'' !!null|x !!str|5 !!timestamp|9 !!binary|x
    !!merge|x !!value|x !!python/name:os.system !foo|x !!set|{a} !!omap|[a:|1] !|x &a|1
""".replace("|", "\0").split()
SCALARS = [scalar.replace("\0", " ") for scalar in SCALARS] + ["9" * 5000, "0x" + "f" * 4000, "|\n  x\n   y"]
KEYS = """
    name project metric goal method run_cap budget compare share early_terminate type min_iter confirm top track
    parameters presets seed resources hang_after keep first data model optimizer scheduler epochs lr momentum batch_size
    augment width head depth choice min max log step q values value distribution label clip classes path pretrain
    x-a << * 1 null '' !!int|x !foo|a "\\0" ?|[a] optimizer.lr quick adam sgd
""".replace("|", "\0").split()
KEYS = [key.replace("\0", " ") for key in KEYS]
LINES = [
    "---",
    "...",
    "%YAML 1.2",
    "%TAG ! x",
    "- a",
    "\t",
    "<<: {run_cap: 3}",
    "<<: [{run_cap: 3}, {seed: 1}]",
    "<<: *a",
]


def value(draw: random.Random, depth: int = 0) -> str:
    """A scalar, a list or a mapping of such, or one with a tag or an anchor."""
    kind = draw.random()
    if depth > 3 or kind < 0.45:
        return draw.choice(SCALARS if draw.random() < 0.8 else KEYS)
    if kind < 0.6:
        return f"[{', '.join(value(draw, depth + 1) for _ in range(draw.randrange(4)))}]"
    if kind < 0.95:
        return f"{{{', '.join(f'{draw.choice(KEYS)}: {value(draw, depth + 1)}' for _ in range(draw.randrange(4)))}}}"
    return draw.choice(["&a ", "!!map ", "!!seq ", "!!set ", "!x "]) + value(draw, depth + 1)


def damage(lines: list[str], draw: random.Random) -> None:
    """Change one line of a sweep file."""
    place, kind = draw.randrange(len(lines)), draw.random()
    line = lines[place]
    if kind < 0.4:
        lines[place] = f"{line.partition(':')[0]}: {value(draw)}"
    elif kind < 0.6:
        lines.insert(place, f"{line[: len(line) - len(line.lstrip())]}{draw.choice(KEYS)}: {value(draw)}")
    elif kind < 0.8:  # values of a mapping in one line
        lines[place] = re.sub(
            r"(?<=: )[^,{}\[\]]+", lambda old: value(draw, 3) if draw.random() < 0.5 else old[0], line
        )
    elif kind < 0.9:
        lines[place] = line.replace(" ", draw.choice(["\t", "\xa0", "\u2028", "\0", "\ufeff", "\r"]), 1)
    else:
        lines.insert(place, draw.choice(LINES))


@pytest.mark.parametrize("seed", range(8))
def test_any_file_is_at_worst_refused_in_one_line(tmp_path, seed):
    draw, path, read = random.Random(seed), tmp_path / "s.yaml", 0
    for _ in range(40):
        lines = list(SWEEP)
        for _ in range(draw.randrange(1, 3)):
            damage(lines, draw)
        path.write_text("\n".join(lines), "utf-8")
        try:
            load_sweep(path, preset=draw.choice([None, None, "quick"]))
            read += 1
        except UserError as error:
            assert "\n" not in str(error)
            assert str(error).startswith(str(path))
    assert read > 0
