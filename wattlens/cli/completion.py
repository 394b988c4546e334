"""`wattlens completion`: a script that lets a shell complete commands and options."""

import argparse
from collections.abc import Iterator
from typing import Final

from wattlens.cli._command import Command

_BASH: Final = """\
# Completion of wattlens for bash. Load it with: source <(wattlens completion bash)
_wattlens() {{
    local at=wattlens word words n
    for ((n = 1; n < COMP_CWORD; n++)); do
        word=${{COMP_WORDS[n]}}
        [[ $word == -- ]] && {{ compopt -o default; return; }}
        [[ -n $(_wattlens_words "$at $word") ]] && at="$at $word"
    done
    words=$(_wattlens_words "$at")
    [[ $2 == -* ]] || words=$(printf '%s\\n' $words | grep -v '^-')
    COMPREPLY=($(compgen -W "$words" -- "$2"))
}}
_wattlens_words() {{
    case $1 in
{cases}
    esac
}}
complete -o default -F _wattlens wattlens
"""
_ZSH: Final = """\
#compdef wattlens
# Completion of wattlens for zsh. Load it with: source <(wattlens completion zsh)
_wattlens() {{
    local at=wattlens word n
    local -a words_of
    for ((n = 2; n < CURRENT; n++)); do
        word=${{words[n]}}
        [[ $word == -- ]] && {{ _files; return; }}
        [[ -n $(_wattlens_words "$at $word") ]] && at="$at $word"
    done
    words_of=(${{=$(_wattlens_words "$at")}})
    [[ ${{words[CURRENT]}} == -* ]] || words_of=(${{words_of:#-*}})
    compadd -- $words_of
    _files
}}
_wattlens_words() {{
    case $1 in
{cases}
    esac
}}
(( $+functions[compdef] )) && compdef _wattlens wattlens
"""
_FISH: Final = """\
# Completion of wattlens for fish. Load it with: wattlens completion fish | source
function __wattlens_at
    set -l at wattlens
    for word in (commandline -opc)[2..-1]
        test "$word" = --; and return 1
        contains -- "$at $word" $__wattlens_paths; and set at "$at $word"
    end
    test "$at" = "$argv"
end
set -g __wattlens_paths {paths}
{lines}
"""


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="shell; the script's first line shows how to load it")


def _run(args: argparse.Namespace) -> int:
    from wattlens.cli import build_parser

    levels = list(_levels(build_parser(["--help"])))
    if args.shell == "fish":
        paths = " ".join(f"'{parser.prog}'" for parser in levels)
        print(_FISH.format(paths=paths, lines="\n".join(line for parser in levels for line in _fish_lines(parser))), end="")
        return 0
    cases = "\n".join(f"        '{p.prog}') echo {' '.join([*_commands(p), *_options(p)])} ;;" for p in levels)
    print((_BASH if args.shell == "bash" else _ZSH).format(cases=cases), end="")
    return 0


def _levels(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of all commands below it."""
    yield parser
    for each in _commands(parser).values():
        yield from _levels(each)


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    return {
        name: each
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for name, each in action.choices.items()
    }


def _options(parser: argparse.ArgumentParser) -> list[str]:
    return [name for name, action in parser._option_string_actions.items() if action.help != argparse.SUPPRESS]


def _fish_lines(parser: argparse.ArgumentParser) -> Iterator[str]:
    where = f"complete -c wattlens -n '__wattlens_at {parser.prog}'"
    for name, each in _commands(parser).items():
        yield f"{where} -f -a {name} -d {_quote(each.description or '')}"
    for option in _options(parser):
        action = parser._option_string_actions[option]
        kind = f"-l {option[2:]}" if option.startswith("--") else f"-s {option[1:]}"
        yield f"{where} {kind}{'' if action.nargs == 0 else ' -r'} -d {_quote(action.help or '')}"


def _quote(text: str) -> str:
    line = " ".join(text.replace("%%", "%").split())
    return "'" + line[:80].replace("\\", "\\\\").replace("'", "\\'") + "'"


SPEC = Command("print a completion script for bash, zsh or fish", _configure, _run)
