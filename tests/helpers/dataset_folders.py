"""Small data sets in the published layouts: tiny frames, label sheets written here, no published label."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openpyxl
import xlwt

JPEG = cv2.imencode(".jpg", np.full((8, 8), 90, np.uint8))[1].tobytes()

SAMM_HEADER = ["Subject", "Filename", "Inducement Code", "Onset", "Apex", "Offset", "Duration", "Type", "Action Units",
               "Notes"]  # fmt: skip
FACS_HEADER = ["Subject", "Filename", "Inducement Code", "Onset Frame", "Apex Frame", "Offset Frame", "Duration",
               "Micro", "Action Units", "Estimated Emotion", "Objective Classes", "Notes"]  # fmt: skip
CASME3_HEADER = ["Subject", "Filename", "Onset", "Apex", "Offset", "AU", "Objective class", "emotion"]
NEGATIVES_HEADER = ["Subject", "Filename", "Onset", "Apex", "Offset", "AU", "Expression type", "Objective class"]
SMIC_HEADER = ["Subject", "Filename", "OnsetF", "OffsetF", "FirstF", "LastF", "Emotion"]
MANIFEST_HEADER = ["subject", "video", "onset", "apex", "offset", "emotion"]

SAMM_ROWS = [
    [6, "006_1_1", 1, 11.0, -1, 20, 10, "Macro", "AU12", ""],
    ["006", "006_1_2", 1, 21, 25, 30, 10, "Micro - 1/2", "L4+7", ""],
    [7, "007_2_1", 3, 3, -1, 12, 10, "Micro - 1/2", "12", ""],
]
FACS_ROWS = [
    [6, "006_1_2", 1, 501, 505, 510, 10, "Micro - 1/2", "L4+7", "Contempt", 5, ""],
    [7, "007_2_1", 3, 603, 605, 612, 10, "Micro - 1/2", "12", "Happiness", 1, ""],
]
CASME3_ROWS = [
    ["spNO.1", "a", 5, 9, 14, "4", "IV", "disgust"],
    ["spNO.1", "J", 3, 5, 8, "R1+2", "II", "Others"],
    ["spNO.20", "b", 12, 20, 21, 12, "I", "happy"],
]
CASME2_ROWS = [
    [1, "disgust1_1", 5, 9, 14, "4+7", "negative", "micro-expression", "disgust"],
    [1, "disgust1_2", 15, 19, 0, "12", "positive", "macro-expression", "happiness"],
    [2, "anger1_1", 2, 4, 9, "1", "surprise", "macro-expression", ""],
]
SMIC_ROWS = [
    [1, "s1_ne_01", 1010, 1018, 1001, 1030, "negative"],
    [1, "s1_po_02", 2005, 2012, 2001, 2030, "positive"],
    [11, "s11_su_01", 505, 512, 501, 530, "surprise"],
]
MANIFEST_ROWS = [
    ["anna", "talk", 5, 9, 14, "happiness"],
    ["anna", "talk", 20, "", 24, "negative"],
    ["ben", "still", "", "", "", ""],
    ["ben", "clip", 2, 3, 4, "other"],
]


def frames(folder: Path, *, count: int, pattern: str = "{}.jpg", first: int = 1) -> None:
    folder.mkdir(parents=True)
    for number in range(first, first + count):
        (folder / pattern.format(number)).write_bytes(JPEG)


def xlsx(path: Path, *sheets: Sequence[Sequence[Any]], merged: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    book = openpyxl.Workbook()
    for k, rows in enumerate(sheets):
        sheet = book.active if k == 0 else book.create_sheet()
        for row in rows:
            sheet.append(list(row))
    if merged:
        book.worksheets[0].merge_cells(merged)
    book.save(path)


def xls(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    book = xlwt.Workbook()
    sheet = book.add_sheet("Sheet1")
    for i, row in enumerate(rows):
        for k, cell in enumerate(row):
            if cell != "":
                sheet.write(i, k, cell)
    book.save(str(path))


def samm_lv(root: Path, *, rows=SAMM_ROWS, facs=FACS_ROWS, header=SAMM_HEADER, merged="", length=40) -> Path:
    for name in ("006_1", "007_2", "007_3"):
        frames(root / "SAMM_longvideos" / name, count=length, pattern=name + "_{:04d}.jpg")
    preamble = [[f"About these labels, line {k}"] for k in range(9)]
    xlsx(root / "SAMM_LongVideos_V3_Release.xlsx", [*preamble, header, *rows], merged=merged)
    if facs is not None:
        xlsx(root / "SAMM_Micro_FACS_Codes_v2.xlsx", [*[["Notes"]] * 13, FACS_HEADER, *facs])
    return root


def casme3(root: Path, *, rows=CASME3_ROWS, negatives=None, header=CASME3_HEADER, first=1, length=40) -> Path:
    for place in ("spNO.1/a", "spNO.1/j", "spNO.1/m", "spNO.20/b"):
        frames(root / "data" / place / "color", count=length, first=first)
        frames(root / "data" / place / "depth", count=2, pattern="{}.png")
    xlsx(root / "annotation" / "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx", [header, *rows])
    if negatives is not None:
        xls(root / "annotation" / "CAS(ME)3_part_A_v2.xls", [NEGATIVES_HEADER, *negatives])
    return root


def casme2(root: Path, *, rows=CASME2_ROWS, subjects=((15, "s15", 1), (16, "s16", 2)), length=40) -> Path:
    for place in ("s15/15_0101disgustingteeth", "s15/15_0502funnyerrors", "s16/16_0401girlcrashing"):
        frames(root / "rawpic" / place, count=length, pattern="img{}.jpg")
    xlsx(root / "CAS(ME)^2code_final.xlsx", rows, subjects, [[101, "disgust1"], [401, "anger1"]])
    return root


def smic(root: Path, *, camera="HS", rows=SMIC_ROWS) -> Path:
    for place, first in (("s01/s1_ne_01", 1001), ("s01/s1_po_02", 2001), ("s11/s11_su_01", 501)):
        folder = root / f"SMIC-{camera}-E" / camera / place
        frames(folder, count=30, pattern="image{:06d}.jpg", first=first)
    xlsx(root / f"SMIC-{camera}-E_annotation.xlsx", [SMIC_HEADER, *rows, ["Remarks on the labels"]])
    return root


def megc(root: Path) -> Path:
    for name in ("001_1", "001_2", "014_3"):
        frames(root / "SAMM_Challenge" / name, count=4, pattern=name + "_{:04d}.jpg")
    for place in ("sub01/a1", "sub02/b07"):
        frames(root / "CAS_Test" / place, count=4)
    return root


def manifest(root: Path, *, rows=MANIFEST_ROWS, header=MANIFEST_HEADER, name="manifest.csv") -> Path:
    frames(root / "anna" / "talk", count=30)
    frames(root / "ben" / "still", count=3)
    (root / "ben" / "clip.mp4").write_bytes(b"not looked into")
    with (root / name).open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return root
