"""Calibration boards: corners whose identity needs no matching."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64, Int, UInt8

from headsup_cli.calibration.tracks import Tracks, concatenate
from headsup_cli.capture.rig_dump import RigCamera, RigFrame
from headsup_cli.errors import InputError
from headsup_cli.media.opencv import cv2
from headsup_cli.media.pictures import read_picture

_UNITS_M = {"mm": 1e-3, "cm": 1e-2, "m": 1.0}
_LEAST_CORNERS = 6


@dataclass(frozen=True)
class Board:
    """A chessboard, counted in inner corners, or a ChArUco board, counted in squares."""

    kind: Literal["chessboard", "charuco"]
    columns: int
    rows: int
    square_m: float
    marker_m: float = 0.0
    dictionary: str = ""


def parse_board(text: str) -> Board:
    """A board from `chessboard:9x6:25mm` or `charuco:7x5:40mm:30mm:DICT_5X5_100`.

    Raises:
        InputError: It is neither.
    """
    count, length = r"([0-9]{1,3})", r"([0-9]{1,6}(?:\.[0-9]{1,6})?(?:mm|cm|m))"
    chess = re.fullmatch(rf"chessboard:{count}x{count}:{length}", text)
    charuco = re.fullmatch(rf"charuco:{count}x{count}:{length}:{length}:(DICT_\w+)", text)
    found = chess or charuco
    if found and min(int(found[1]), int(found[2])) > 2:
        size = int(found[1]), int(found[2]), _metres(found[3])
        if chess and size[2] > 0:
            return Board("chessboard", *size)
        if charuco and hasattr(cv2.aruco, charuco[5]):
            return _checked(Board("charuco", *size, _metres(charuco[4]), charuco[5]))
    raise InputError(
        "--board", found=f"'{text[:80]}'", expected="chessboard:9x6:25mm (inner corners, square) or "
        "charuco:7x5:40mm:30mm:DICT_5X5_100 (squares, square, marker, one of OpenCV's dictionaries)",
        remedy="describe the board so",
    )  # fmt: skip


def _checked(board: Board) -> Board:
    """A ChArUco board that can exist: its markers fit into the squares, and the dictionary has that many."""
    known = len(cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, board.dictionary)).bytesList)
    markers = board.columns * board.rows // 2
    if markers > known:
        raise InputError(
            "--board", found=f"{board.columns} x {board.rows} squares, that is {markers} markers",
            expected=f"at most the {known} of {board.dictionary}", remedy="name the board's own dictionary",
        )  # fmt: skip
    if not 0 < board.marker_m < board.square_m:
        raise InputError(
            "--board", found=f"markers of {1000 * board.marker_m:g} mm in squares of {1000 * board.square_m:g} mm",
            expected="markers smaller than squares", remedy="give the square's side first, then the marker's",
        )  # fmt: skip
    return board


def board_tracks(board: Board, frames: Sequence[RigFrame], cameras: Mapping[str, RigCamera]) -> Tracks:
    """Find a board's corners in all pictures.

    Args:
        board: What to look for.
        frames: Moments; the board may have moved between them.
        cameras: Camera indices are positions in this.

    Raises:
        InputError: No two cameras saw the board at the same moment.
    """
    detect = _chessboard_detector(board) if board.kind == "chessboard" else _charuco_detector(board)
    tracks = concatenate([_frame_tracks(frame, list(cameras), detect) for frame in frames])
    if not tracks.count:
        raise InputError(
            "--board", found="seen by no two cameras at once", expected=f"a {board.kind} in some frames",
            remedy="check the board's size, or leave the option out",
        )  # fmt: skip
    return tracks


def _frame_tracks(frame: RigFrame, names: Sequence[str], detect: Any) -> Tracks:
    seen = [
        (names.index(name), *detect(read_picture(picture))) for name, picture in frame.images.items() if name in names
    ]
    camera = np.concatenate([np.zeros(0, int), *(np.full(len(ids), index) for index, ids, _ in seen)])
    corner = np.concatenate([np.zeros(0, int), *(ids for _, ids, _ in seen)])
    pixel = np.concatenate([np.zeros((0, 2)), *(pixels for _, _, pixels in seen)])
    order = np.argsort(corner, kind="stable")
    tracks = Tracks(camera[order], np.unique(corner[order], return_inverse=True)[1], pixel[order])
    return tracks.where(np.ones(len(order), bool))


def _metres(text: str) -> float:
    unit = next(u for u in _UNITS_M if text.endswith(u))
    return float(text.removesuffix(unit)) * _UNITS_M[unit]


def _chessboard_detector(board: Board) -> Any:
    def detect(picture: UInt8[np.ndarray, "h w 3"]) -> tuple[Int[np.ndarray, " n"], Float64[np.ndarray, "n 2"]]:
        gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        found, corners = cv2.findChessboardCornersSB(gray, (board.columns, board.rows))
        if not found:
            return np.zeros(0, int), np.zeros((0, 2))
        return np.arange(board.columns * board.rows), corners.reshape(-1, 2).astype(float) + 0.5

    return detect


def _charuco_detector(board: Board) -> Any:
    dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, board.dictionary))
    layout = cv2.aruco.CharucoBoard((board.columns, board.rows), board.square_m, board.marker_m, dictionary)
    detector = cv2.aruco.CharucoDetector(layout)

    def detect(picture: UInt8[np.ndarray, "h w 3"]) -> tuple[Int[np.ndarray, " n"], Float64[np.ndarray, "n 2"]]:
        corners, ids, _, _ = detector.detectBoard(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
        if ids is None or len(ids) < _LEAST_CORNERS:
            return np.zeros(0, int), np.zeros((0, 2))
        return ids.ravel().astype(int), corners.reshape(-1, 2).astype(float) + 0.5

    return detect
