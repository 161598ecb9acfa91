"""Columns of tables as pandas reads them: python3 generate.py (pandas 2) writes columns.json.

Each case is a column's cells, with the dtype and the values that pandas gives it; NaN
and infinities are texts. Booleans with missing values and numbers with leading zeros
are left out: there the program keeps text on purpose.
"""

import io
import json
import math
import pathlib

import pandas

CASES = {
    "whole": ["5", "-7", "0"],
    "plus": ["+5", "7"],
    "spaces": [" 5", " 7"],
    "decimal": ["0.5", "1e-3", ".5", "5."],
    "empty": ["3", "", "4"],
    "NA": ["3", "NA", "4.5"],
    "n/a": ["1", "n/a", "N/A", "null", "NULL", "None", "<NA>", "#N/A", "nan", "NaN", "-nan"],
    "infinite": ["1", "inf", "-inf", "Infinity", "+inf"],
    "large": ["9223372036854775807", "-9223372036854775808"],
    "booleans": ["True", "False"],
    "capitals": ["TRUE", "FALSE", "TRUE"],
    "small": ["true", "false"],
    "text": ["cat", "1", "2"],
    "booleans and numbers": ["True", "1"],
    "dates": ["2024-01-01", "2024-01-02"],
    "thousands": ["1,234", "5,678"],
    "spaced text": [" a", " b"],
    "percent": ["5%", "6%"],
    "hexadecimal": ["0x10", "0x11"],
    "underscores": ["1_000", "2_000"],
}


def plain(value):
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def main():
    cases = []
    for name, cells in CASES.items():
        text = "path,x\n" + "".join(f'p,"{cell}"\n' for cell in cells)
        column = pandas.read_csv(io.StringIO(text))["x"]
        cases.append({"name": name, "cells": cells, "dtype": str(column.dtype), "values": [plain(v) for v in column.tolist()]})
    decimal = pandas.read_csv(io.StringIO("path;x\np;1,5\np;2\np;\n"), sep=";", decimal=",")["x"]
    cases.append({"name": "decimal comma", "cells": ["1,5", "2", ""], "comma": True, "dtype": str(decimal.dtype), "values": [plain(v) for v in decimal.tolist()]})
    path = pathlib.Path(__file__).with_name("columns.json")
    path.write_text(json.dumps({"pandas": pandas.__version__, "cases": cases}, indent=1) + "\n")


main()
