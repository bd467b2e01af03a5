"""The table of regions: consistent in itself and with the 68-point scheme."""

import dataclasses

import pytest

from metst.regions import CHANNEL_NAMES, HEAD, LANDMARK_COUNT, METST_CHANNELS, METST_REGIONS, REGION_NAMES, REGIONS

OTHER_SIDE = {"left": "right", "right": "left", "centre": "centre"}


def mirrored_landmarks():
    """The 68 points as numbered in the mirrored image (iBUG 300-W): symmetric runs swap end for end."""
    swap = {}
    for first, last in ((0, 16), (17, 26), (31, 35), (48, 54), (55, 59), (60, 64), (65, 67)):
        swap |= {first + step: last - step for step in range(last - first + 1)}
    swap |= {point: point for point in range(27, 31)}
    for left, right in zip((36, 37, 38, 39, 40, 41), (45, 44, 43, 42, 47, 46), strict=True):
        swap |= {left: right, right: left}
    return swap


def test_eighteen_regions_in_the_published_order():
    assert [region.number for region in REGIONS] == list(range(1, 19))
    assert len(set(REGION_NAMES)) == 18
    assert all(0 <= point < LANDMARK_COUNT for region in REGIONS for point in region.landmarks)


def test_fine_regions_lie_in_a_coarse_one_and_share_its_patch():
    for region in REGIONS:
        if region.parent is not None:
            parent = REGIONS[region.parent]
            assert parent.parent is None
            assert set(region.landmarks) < set(parent.landmarks)
            assert region.published.patch == parent.published.patch
            assert region.published.point in region.landmarks
    assert [region.number for region in REGIONS if region.parent is not None] == [2, 3, 4, 6, 7, 8, 10, 11, 12, 13, 14]


def test_mirroring_twice_is_no_change_and_swaps_sides_and_parents():
    for index, region in enumerate(REGIONS):
        partner = REGIONS[region.mirror]
        assert partner.mirror == index
        assert partner.side == OTHER_SIDE[region.side]
        assert (region.mirror == index) == (region.side == "centre")
        assert region.name.replace("left", "right") == partner.name.replace("left", "right")
        parents = [None if each.parent is None else REGIONS[each.parent] for each in (region, partner)]
        assert (parents[0] is None) == (parents[1] is None)
        if parents[0] is not None:
            assert REGIONS[parents[0].mirror] is parents[1]


def test_mirror_partners_own_mirrored_landmarks():
    swap = mirrored_landmarks()
    assert sorted(swap) == list(range(LANDMARK_COUNT))
    for region in REGIONS:
        if region.name != "mouth":  # the published outline leaves out point 67 and so is not symmetric
            assert {swap[point] for point in region.landmarks} == set(REGIONS[region.mirror].landmarks)


def test_sides_are_those_of_the_image():
    """Points 0-16 run along the jaw from the image's left; 27 starts the bridge of the nose."""
    assert {region.side for region in REGIONS if set(region.landmarks) <= set(range(17, 22))} == {"left"}
    assert {region.side for region in REGIONS if set(region.landmarks) <= set(range(22, 27))} == {"right"}


def test_metst_reads_regions_1_5_9_15_and_16():
    assert [REGIONS[index].number for index in METST_REGIONS] == [1, 5, 9, 15, 16]
    names = [CHANNEL_NAMES[channel] for channel in METST_CHANNELS]
    assert names[:4] == ["left brow x", "left brow y", "right brow x", "right brow y"]
    assert names == [f"{REGION_NAMES[index]} {axis}" for index in METST_REGIONS for axis in "xy"]
    assert len(CHANNEL_NAMES) == len(set(CHANNEL_NAMES)) == 36


def test_shares_are_shares_and_the_table_is_frozen():
    assert all(0 < pooling.share < 1 for pooling in (HEAD, *(region.published for region in REGIONS)))
    with pytest.raises(dataclasses.FrozenInstanceError):
        REGIONS[0].number = 2
