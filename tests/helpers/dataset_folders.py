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
BLINK_HEADER = ["Subject", "Filename", "Onset", "Offset"]
CASME_II_HEADER = ["Subject", "Filename", "", "OnsetFrame", "ApexFrame", "OffsetFrame", "", "Action Units",
                   "Estimated Emotion"]  # fmt: skip
DFME_HEADER = ["Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Emotion", "EmotionId", "Fps", "AU"]
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
CASME_II_ROWS = [
    ["01", "EP02_01f", "", 46, 59, 86, "", "12", "happiness"],
    [1, "EP19_06f", "", 51, "/", 70, "", "15", "repression"],
    ["02", "EP01_11f", "", 46, 60, 80, "", "4", "others"],
]
SAMM_CLIP_ROWS = [
    [6, "006_1_2", 1, 5562, 5588, 5632, 71, "Micro - 1/2", "L4+7", "Anger", 2, ""],
    ["007", "007_3_1", 3, 31, -1, 60, 30, "Micro - 1/2", "12", "Happiness", 1, ""],
    ["007", "007_6_4", 6, 31, 40, 60, 30, "Micro - 1/2", "1+2", "Surprise", 3, ""],
]
DFME_ROWS = [
    ["sub0003", "sub0003_01", 0, 12, 29, "happiness", 1, 200, "12"],
    ["sub0003", "sub0003_02", 4, 9, 20, "contempt", 3, 300, "14"],
    ["sub0010", "sub0010_01", 2, 9, 25, "others", 8, 500, "4"],
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


def xls(path: Path, rows: Sequence[Sequence[Any]], **more: Sequence[Sequence[Any]]) -> None:
    """A workbook with a sheet ``Sheet1``, and further ones by name (blanks written as ``_``)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    book = xlwt.Workbook()
    for name, table in {"Sheet1": rows, **more}.items():
        sheet = book.add_sheet(name.replace("_", " "))
        for i, row in enumerate(table):
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


def casme_ii(root: Path, *, rows=CASME_II_ROWS, name="CASME2-coding-20140508.xlsx", length=60) -> Path:
    for place in ("sub01/EP02_01f", "sub01/EP19_06f", "sub02/EP01_11f"):
        frames(root / "CASME2_RAW" / place, count=length, pattern="img{}.jpg", first=46)
    xlsx(root / name, [CASME_II_HEADER, *rows])
    return root


def samm(root: Path, *, rows=SAMM_CLIP_ROWS, name="SAMM.xlsx", length=90) -> Path:
    for place, first in (("006/006_1_2", 5550), ("007/007_3_1", 1), ("007/007_6_4", 11)):
        frames(root / place, count=length, pattern=f"{place[:3]}_{{:05d}}.jpg", first=first)
    book = openpyxl.Workbook()
    book.active.title = "Read me"
    book.active.append(["About the labels"])
    sheet = book.create_sheet("MICRO_ONLY")
    for row in (FACS_HEADER, *rows):
        sheet.append(row)
    book.save(root / name)
    return root


def dfme(root: Path, *, rows=DFME_ROWS, name="training_full_with_AU.xlsx", length=30) -> Path:
    for place in ("sub0003/sub0003_01", "sub0003/sub0003_02", "sub0010/sub0010_01"):
        frames(root / "part_A" / place, count=length, pattern="{:05d}.png")
    xlsx(root / name, [DFME_HEADER, *rows])
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


# As many labels as the owners gave, on folders that hold the first and the last image only.


def two_images(folder: Path, *, pattern: str, first: int = 1, last: int = 9000) -> None:
    folder.mkdir(parents=True)
    for number in (first, last):
        (folder / pattern.format(number)).touch()


def full_samm_lv(root: Path, *, name: str = "SAMMLV_gt.xlsx") -> Path:
    """147 videos of 30 subjects, 159 micro-expressions in 79 of them and of 29, 343 macro-expressions, 177 of them
    with fractions in their frames."""
    subjects = [f"{6 + k:03d}" for k in range(30)]
    micro_videos = [f"{subjects[k % 29]}_{k // 29 + 1}" for k in range(79)]
    videos = [*micro_videos, f"{subjects[29]}_1", *(f"{subjects[k % 30]}_{9 + k // 30}" for k in range(67))]
    emotions = ["Anger"] * 92 + ["Happiness"] * 26 + ["Surprise"] * 15 + ["Other"] * 26
    micro = [[int(v[:3]), f"{v}_{k + 1}", 1, 10 * k + 1, 10 * k + 3, 10 * k + 6, 5, "Micro - 1/2", "4", ""]
             for k, v in enumerate(micro_videos[k % 79] for k in range(159))]  # fmt: skip
    macro = []
    for k in range(343):
        video, fraction = videos[k % 147], (0.4 if k < 177 else 0)
        macro.append([video[:3], f"{video}_{k + 200}", 1, 2000 + 10 * k + fraction, -1, 2006 + 10 * k + fraction, 6,
                      "Macro", "12", ""])  # fmt: skip
    facs = [[row[0], row[1], 1, 501, 505, 510, 9, "Micro - 1/2", "4", emotion, 1, ""]
            for row, emotion in zip(micro, emotions, strict=True)]  # fmt: skip
    xlsx(root / name, [*[["About these labels"]] * 9, SAMM_HEADER, *macro, *micro])
    xlsx(root / "SAMM_Micro_FACS_Codes_v2.xlsx", [*[["Notes"]] * 13, FACS_HEADER, *facs])
    for video in videos:
        two_images(root / "SAMM_longvideos" / video, pattern=video + "_{:04d}.jpg")
    return root


def full_casme3(root: Path, *, jpg_index: bool) -> Path:
    """94 subjects, 462 videos, 860 micro- and 3346 macro-expressions, one of which begins at 0, and 841 blinks."""
    videos = [(f"spNO.{k % 94 + 1}", "abcdefghijklm"[k // 94]) for k in range(462)]
    micro = [[*videos[k % 462], 10 * k + 1, 10 * k + 3, 10 * k + 6, "4", "Micro-expression", "IV"]
             for k in range(860)]  # fmt: skip
    macro = [[*videos[k % 462], 2 * k + 1, 2 * k + 3, 2 * k + 9, "12", "Macro-expression", "I"]
             for k in range(3346)]  # fmt: skip
    macro[777][2] = 0
    blinks = [[*videos[k % 462], 7 * k + 2, 7 * k + 8] for k in range(841)]
    sheet = root / "annotation" / "CAS(ME)3_part_A_v2.xls"
    xls(sheet, [NEGATIVES_HEADER, *micro, *macro], eye_blink=[BLINK_HEADER, *blinks])
    if jpg_index:
        only = [[*row[:6], "IV", "disgust"] for row in micro]
        xlsx(root / "annotation" / "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx", [CASME3_HEADER, *only])
    for subject, video in videos:
        two_images(root / "data" / subject / video / "color", pattern="{}.jpg")
    return root


def full_casme_ii(root: Path) -> Path:
    """26 subjects, 255 rows; every tenth apex is a stroke."""
    names = ["disgust", "happiness", "repression", "surprise", "others"]
    places = [(k % 26 + 1, f"EP{k // 26 + 1:02d}_{k % 26 + 1:02d}f") for k in range(255)]
    rows = [[f"{subject:02d}", clip, "", 50, "/" if k % 10 == 0 else 60, 90, "", "4+7", names[k % 5]]
            for k, (subject, clip) in enumerate(places)]  # fmt: skip
    xlsx(root / "CASME2-coding-20140508.xlsx", [CASME_II_HEADER, *rows])
    for subject, clip in places:
        two_images(root / "CASME2_RAW" / f"sub{subject:02d}" / clip, pattern="img{}.jpg", first=46, last=120)
    return root


def full_samm(root: Path) -> Path:
    """29 subjects, 159 rows."""
    names = ["Anger", "Contempt", "Happiness", "Surprise", "Other"]
    places = [(f"{6 + k % 29:03d}", f"{6 + k % 29:03d}_{k // 29 + 1}_{k % 4 + 1}") for k in range(159)]
    rows = [[int(subject), clip, 1, 5562, 5588, 5632, 71, "Micro - 1/2", "L4+7", names[k % 5], 2, ""]
            for k, (subject, clip) in enumerate(places)]  # fmt: skip
    root.mkdir(exist_ok=True)
    xlsx(root / "SAMM.xlsx", [["Notes"]], [FACS_HEADER, *rows])
    for subject, clip in places:
        two_images(root / subject / clip, pattern=subject + "_{:05d}.jpg", first=5550, last=5700)
    return root


def full_dfme(root: Path) -> Path:
    """1856 rows, three rates, clips directly in one folder."""
    names = ["happiness", "anger", "contempt", "disgust", "fear", "sadness", "surprise", "others"]
    places = [(f"sub{k % 300 + 1:04d}", f"sub{k % 300 + 1:04d}_{k // 300 + 1:02d}") for k in range(1856)]
    rows = [[subject, clip, 0, 12, 60, names[k % 8], k % 8 + 1, (200, 300, 500)[k % 3], "12"]
            for k, (subject, clip) in enumerate(places)]  # fmt: skip
    xlsx(root / "training_full_with_AU.xlsx", [DFME_HEADER, *rows])
    for _, clip in places:
        two_images(root / "train" / clip, pattern="{:05d}.png", first=1, last=61)
    return root
