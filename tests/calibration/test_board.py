import numpy as np
import pytest
from simple_rigs import named, ring

from headsup_cli.calibration.board import board_tracks, parse_board
from headsup_cli.capture.rig_dump import RigFrame
from headsup_cli.errors import InputError
from headsup_cli.media.images import write_image
from headsup_cli.media.opencv import cv2
from headsup_cli.media.pictures import Picture


def test_reads_both_kinds():
    board = parse_board("chessboard:9x6:25mm")
    assert (board.kind, board.columns, board.rows, board.square_m) == ("chessboard", 9, 6, 0.025)
    board = parse_board("charuco:7x5:4cm:0.03m:DICT_5X5_100")
    assert (board.marker_m, board.dictionary) == (0.03, "DICT_5X5_100")


@pytest.mark.parametrize(
    "text",
    [
        "chess",
        "chessboard:9x6",
        "chessboard:1x6:25mm",
        "chessboard:9x6:0mm",
        "chessboard:" + "9" * 5000 + "x6:25mm",
        "charuco:7x5:4cm:3cm:DICT_NONE",
        "charuco:7x5:3cm:4cm:DICT_5X5_100",  # markers larger than squares
        "charuco:70x50:4cm:3cm:DICT_5X5_100",  # more markers than the dictionary has
    ],
)
def test_refuses_others(text):
    with pytest.raises(InputError, match="--board"):
        parse_board(text)


@pytest.mark.parametrize("spec", ["chessboard:8x5:25mm", "charuco:9x6:40mm:30mm:DICT_5X5_100"])
def test_finds_the_same_corners_in_two_pictures(tmp_path, spec):
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_5X5_100)
    if spec.startswith("charuco"):
        flat = cv2.aruco.CharucoBoard((9, 6), 0.04, 0.03, dictionary).generateImage((720, 480), marginSize=40)
    else:
        flat = np.kron(np.indices((6, 9)).sum(0) % 2, np.ones((60, 60), int)).astype(np.uint8) * 255
        flat = cv2.copyMakeBorder(flat, 60, 60, 60, 60, cv2.BORDER_CONSTANT, value=255)
    pictures = {}
    for name, shift in (("c00", 0), ("c01", 17)):
        write_image(tmp_path / f"{name}.png", np.repeat(np.roll(flat, shift, 1)[..., None], 3, 2))
        pictures[name] = Picture(tmp_path / f"{name}.png")
    tracks = board_tracks(parse_board(spec), [RigFrame(pictures)], named(ring(2)))
    assert tracks.count == 40
    first, second = (tracks.pixel[tracks.camera == k] for k in (0, 1))
    assert np.allclose(second - first, [17, 0], atol=0.2)
