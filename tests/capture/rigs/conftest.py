"""A toy rig, and the same rig written in every dialect."""

import csv
import io
import json
import struct
import zipfile
from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest

from headsup_cli.capture.lens import Lens
from headsup_cli.capture.rig_dump import RigCamera
from headsup_cli.capture.rigs import native
from headsup_cli.capture.rigs.colmap import MODELS
from headsup_cli.media.images import write_image
from headsup_cli.media.video import open_video_writer

BROWN = Lens("opencv", (-0.2, 0.05, 0.002, -0.003, 0.01))
RADIAL_TANGENTIAL = Lens("opencv", (-0.2, 0.05, 0.002, -0.003))
NAMES = ("front cam", "sidé", "left", "top", "5")
GL = np.diag([1.0, -1.0, -1.0, 1.0])
HALF = np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])


def make_rig(names=NAMES, *, lens=BROWN, width=48, height=64):
    """Cameras 0.9 to 1.1 m around a head, in metres, all different."""
    cameras = {}
    for i, name in enumerate(names):
        azimuth, elevation, distance = 0.5 * (i - 2), 0.1 * i - 0.2, 0.9 + 0.05 * i
        centre = distance * np.array(
            [np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)]
        )
        forward = -centre / np.linalg.norm(centre)
        right = np.cross(forward, [0.0, 1.0, 0.1 * i])
        right /= np.linalg.norm(right)
        R = np.stack([right, np.cross(forward, right), forward])
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = R, -R @ (centre + np.array([0.03, 0.1, -0.02]))
        K = np.array([[1.9 * height + i, 0, width / 2 + 1.3], [0, 1.9 * height - i, height / 2 - 0.7 * i], [0, 0, 1]])
        cameras[name] = RigCamera(name, K, lens, pose, width, height)
    return cameras


def picture_of(camera, seed=0):
    rng = np.random.default_rng(abs(hash((camera.id, seed))) % 2**32)
    return rng.integers(0, 255, (camera.height, camera.width, 3), dtype=np.uint8)


def write_pictures(folder, rig, pattern="images/{name}.png", mask_pattern=None, frames=("",)):
    for frame in frames:
        for name, camera in rig.items():
            write_image(folder / pattern.format(name=name, frame=frame), picture_of(camera, frame))
            if mask_pattern:
                write_image(folder / mask_pattern.format(name=name, frame=frame), mask_of(camera))


def mask_of(camera):
    mask = np.zeros((camera.height, camera.width), np.uint8)
    mask[10:40, 12:30] = 255
    return mask


@dataclass(frozen=True)
class Written:
    """What a writer has made: the rig's truth by the names that the dialect gives its cameras."""

    rig: dict
    frames: int = 1
    masks: bool = False


def c2w_gl(camera):
    return np.linalg.inv(camera.cam_from_rig) @ GL


def write_native(folder):
    rig = make_rig(lens=Lens("thin_prism_fisheye", (0.1, 0.02, 0.003, -0.004, 0.01, 0.02, 0.003, 0.004)))
    write_pictures(folder, rig, mask_pattern="masks/{name}.png")
    native.write_calibration(folder / "calibration.json", rig)
    return Written(rig, masks=True)


def quaternion(R):
    w = np.sqrt(max(0.0, 1 + np.trace(R))) / 2
    if w > 1e-3:
        return [w, (R[2, 1] - R[1, 2]) / (4 * w), (R[0, 2] - R[2, 0]) / (4 * w), (R[1, 0] - R[0, 1]) / (4 * w)]
    values, vectors = np.linalg.eigh((R + R.T) / 2)
    return [0.0, *vectors[:, np.argmax(values)]]


def colmap_parameters(camera):
    (fx, _, cx), (_, fy, cy) = camera.K[:2]
    k1, k2, p1, p2, k3 = camera.lens.coefficients
    return [fx, fy, cx, cy, k1, k2, p1, p2, k3, 0.0, 0.0, 0.0]


def write_colmap_text(folder, points="\n"):
    rig = make_rig()
    write_pictures(
        folder, rig, "images/{frame}/{name}.png", "masks/{frame}/{name}.png.png", frames=("smile", "neutral")
    )
    sparse = folder / "sparse" / "0"
    sparse.mkdir(parents=True)
    cameras, images = ["# Camera list", "# x"], ["# Image list"]
    for i, (name, camera) in enumerate(rig.items(), 1):
        parameters = " ".join(f"{v!r}" for v in map(float, colmap_parameters(camera)))
        cameras.append(f"{i} FULL_OPENCV {camera.width} {camera.height} {parameters}")
        pose = [*quaternion(camera.cam_from_rig[:3, :3]), *(3.7 * camera.cam_from_rig[:3, 3])]
        for j, frame in enumerate(("smile", "neutral")):
            images.append(
                f"{i * 2 + j} " + " ".join(f"{float(v)!r}" for v in pose) + f" {i} {frame}/{name}.png{points}"
            )
    (sparse / "cameras.txt").write_text("\n".join(cameras) + "\n")
    (sparse / "images.txt").write_text(
        "\n".join(image.rstrip("\n") + ("\n" if points else "") for image in images) + "\n"
    )
    (sparse / "points3D.txt").write_text("")
    (sparse / "rigs.txt").write_text("# rigs\n")
    return Written(rig, frames=2, masks=True)


def write_colmap_binary(folder):
    rig = make_rig()
    write_pictures(folder, rig, "images/{name}.png", "masks/{name}.png")
    sparse = folder / "sparse"
    sparse.mkdir()
    cameras, images = struct.pack("<Q", len(rig)), struct.pack("<Q", len(rig))
    for i, (name, camera) in enumerate(rig.items(), 1):
        parameters = colmap_parameters(camera)
        cameras += struct.pack("<2i2Q12d", i, MODELS["FULL_OPENCV"].number, camera.width, camera.height, *parameters)
        pose = [*quaternion(camera.cam_from_rig[:3, :3]), *(0.1 * camera.cam_from_rig[:3, 3])]
        images += struct.pack("<i7di", i, *pose, i) + f"{name}.png".encode() + b"\0"
        images += struct.pack("<Q", 2) + struct.pack("<2dq", 1.0, 2.0, -1) * 2
    (sparse / "cameras.bin").write_bytes(cameras)
    (sparse / "images.bin").write_bytes(images)
    return Written(rig, masks=True)


def transforms(rig, applied=None, scale=1.0, path="images/{name}.png"):
    frames = []
    for name, camera in rig.items():
        pose = c2w_gl(camera)
        if applied is not None:
            pose = np.vstack([applied, [0, 0, 0, 1]]) @ pose
        pose[:3, 3] *= scale
        k1, k2, p1, p2, k3 = camera.lens.coefficients
        frames.append(
            {
                "file_path": path.format(name=name),
                "mask_path": f"masks/{name}.png",
                "transform_matrix": pose.tolist(),
                "fl_x": camera.K[0, 0],
                "fl_y": camera.K[1, 1],
                "cx": camera.K[0, 2],
                "cy": camera.K[1, 2],
                "k1": k1,
                "k2": k2,
                "k3": k3,
                "p1": p1,
                "p2": p2,
            }
        )
    return frames


def write_nerfstudio(folder):
    rig = make_rig()
    write_pictures(folder, rig, mask_pattern="masks/{name}.png")
    applied = np.array([[0, 1, 0, 0.3], [1, 0, 0, 0], [0, 0, -1, 1.0]], float)
    first = next(iter(rig.values()))
    content = {"camera_model": "OPENCV", "w": first.width, "h": first.height, "k1": 99.0}
    content |= {"applied_transform": applied.tolist(), "applied_scale": 0.5}
    content["frames"] = transforms(rig, applied, 0.5)
    (folder / "transforms.json").write_text(json.dumps(content))
    return Written(rig, masks=True)


def write_blender(folder):
    rig = {
        name: replace(camera, K=np.array([[90.0, 0, 24], [0, 90, 32], [0, 0, 1]]))
        for name, camera in make_rig(lens=Lens()).items()
    }
    angle = 2 * np.arctan(0.5 * 48 / 90)
    for split, names in (("train", list(rig)[:3]), ("test", list(rig)[3:])):
        frames = []
        for name in names:
            rgba = np.dstack([picture_of(rig[name]), mask_of(rig[name])])
            write_image(folder / split / f"{name}.png", rgba)
            frames.append({"file_path": f"./{split}/{name}", "transform_matrix": c2w_gl(rig[name]).tolist()})
        (folder / f"transforms_{split}.json").write_text(json.dumps({"camera_angle_x": angle, "frames": frames}))
    return Written(rig, masks=True)


def write_vhap(folder):
    rig = make_rig(("0", "8", "camera"), lens=Lens())
    frames = []
    for t in range(2):
        for i, (name, camera) in enumerate(rig.items()):
            write_image(folder / f"images/{t:05d}_{i:02d}.png", picture_of(camera, t))
            write_image(folder / f"fg_masks/{t:05d}_{i:02d}.png", mask_of(camera))
            frames.append(
                {
                    "timestep_index": t,
                    "camera_index": i,
                    "camera_id": name,
                    "cx": camera.K[0, 2],
                    "cy": camera.height - camera.K[1, 2],
                    "fl_x": camera.K[0, 0],
                    "fl_y": camera.K[1, 1],
                    "w": camera.width,
                    "h": camera.height,
                    "transform_matrix": c2w_gl(camera).tolist(),
                    "file_path": f"images/{t:05d}_{i:02d}.png",
                    "fg_mask_path": f"fg_masks/{t:05d}_{i:02d}.png",
                }
            )
    (folder / "transforms.json").write_text(json.dumps({"frames": frames, "timestep_indices": [0, 1]}))
    return Written(rig, frames=2, masks=True)


def scaled_up(camera, width, height):
    """K with OpenCV's pixel origin, for the size that the camera was calibrated at."""
    return camera.K * np.array([[width / camera.width], [height / camera.height], [1.0]]) - HALF


def nersemble_params(rig):
    first = next(iter(rig.values()))
    shared = {name: replace(camera, K=first.K) for name, camera in rig.items()}
    content = {
        "world_2_cam": {name: camera.cam_from_rig.tolist() for name, camera in shared.items()},
        "intrinsics": scaled_up(first, 2200, 3208).tolist(),
    }
    return shared, json.dumps(content)


def write_nersemble_v2(folder):
    rig, params = nersemble_params(make_rig(("222200036", "222200037", "220700191"), lens=Lens(), width=44, height=64))
    (folder / "calibration").mkdir(parents=True)
    (folder / "calibration" / "camera_params.json").write_text(params)
    colours = {name: np.hstack([0.5 * np.eye(3), np.zeros((3, 7))]).tolist() for name in rig}
    (folder / "calibration" / "color_calibration.json").write_text(json.dumps(colours))
    for name, camera in rig.items():
        path = folder / "sequences" / "EXP-3-cheeks+nose" / "images" / f"cam_{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_video_writer(path, width=camera.width, height=camera.height, fps=73.0, crf=5) as append:
            for value in (0, 60, 120, 180, 240):
                append(np.full((camera.height, camera.width, 3), value, np.uint8))
        write_image(folder / "sequences" / "BACKGROUND" / f"image_{name}.jpg", picture_of(camera))
    return Written(rig, frames=5)


def write_nersemble_v1(folder):
    rig, params = nersemble_params(make_rig(("222200036", "222200037", "220700191"), lens=Lens(), width=44, height=64))
    beside = folder.parent / "camera_params" / folder.name
    beside.mkdir(parents=True)
    (beside / "camera_params.json").write_text(params)
    colours = folder.parent / "color_correction" / folder.name
    colours.mkdir(parents=True)
    for name, camera in rig.items():
        np.save(colours / f"{name}.npy", np.hstack([0.5 * np.eye(3), [[0.1], [0.2], [0.3]]]))
        for step in ("00000", "00003"):
            write_image(folder / "EXP-1-head" / "images" / f"cam_{name}_{step}.jpg", picture_of(camera, step))
            write_image(folder / "EXP-1-head" / "alpha_maps" / f"cam_{name}_{step}.png", mask_of(camera))
    return Written(rig, frames=2, masks=True)


def write_ava(folder):
    rig = make_rig(("400883", "401031", "401045"), lens=RADIAL_TANGENTIAL, width=58, height=89)
    entries = []
    for name, camera in rig.items():
        T = np.zeros((4, 4))
        T[:3, :3], T[3, :3], T[3, 3] = camera.cam_from_rig[:3, :3].T, 1000 * camera.cam_from_rig[:3, 3], 1.0
        entries.append(
            {
                "cameraId": name,
                "projectionModel": "Pinhole",
                "distortionModel": "RadialAndTangential",
                "K": scaled_up(camera, 2668, 4096).T.tolist(),
                "distortion": list(camera.lens.coefficients),
                "T": T.tolist(),
            }
        )
    decoder = folder / "decoder"
    (decoder / "image").mkdir(parents=True)
    (decoder / "segmentation_parts").mkdir()
    (decoder / "camera_calibration.json").write_text(json.dumps({"KRT": entries}))
    for name, camera in rig.items():
        with zipfile.ZipFile(decoder / "image" / f"cam{name}.zip", "w") as archive:
            for frame in ("000102", "000345"):
                archive.writestr(
                    f"cam{name}/{frame}.avif", cv2.imencode(".avif", picture_of(camera, frame))[1].tobytes()
                )
        with zipfile.ZipFile(decoder / "segmentation_parts" / f"cam{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            labels = np.where(mask_of(camera) > 0, 2, 3).astype(np.uint8)
            for frame in ("000102", "000345"):
                archive.writestr(f"cam{name}/{frame}.png", cv2.imencode(".png", labels)[1].tobytes())
    return Written(rig, frames=2, masks=True)


def write_krt(folder):
    rig = make_rig(("400002", "400004", "400006"))
    write_pictures(folder, rig, "images/E001_Neutral/{name}/{frame}.png", frames=("000220", "000221"))
    lines = []
    for name, camera in rig.items():
        pose = camera.cam_from_rig[:3].copy()
        pose[:, 3] *= 1000
        rows = [*(camera.K - HALF), camera.lens.coefficients, *pose]
        lines += [name, *(" ".join(f"{float(v)!r}" for v in row) for row in rows), ""]
    (folder / "KRT").write_text("\n".join(lines))
    return Written(rig, frames=2)


def write_facescape(folder):
    rig = make_rig(("0", "2", "13"))
    write_pictures(folder, rig, "{name}.jpg")
    params = {"1_valid": False, "1_K": np.eye(3).tolist()}
    for name, camera in rig.items():
        pose = camera.cam_from_rig[:3].copy()
        pose[:, 3] *= 1000
        params |= {
            f"{name}_K": (camera.K - HALF).tolist(),
            f"{name}_Rt": pose.tolist(),
            f"{name}_distortion": list(camera.lens.coefficients),
            f"{name}_width": camera.width,
            f"{name}_height": camera.height,
            f"{name}_valid": True,
            f"{name}_sn": "x",
        }
    (folder / "params.json").write_text(json.dumps(params))
    return Written(rig)


def storage(path, values):
    file = cv2.FileStorage(str(path), cv2.FileStorage_WRITE)
    for key, value in values.items():
        file.write(key, value)
    file.release()


def write_stereo(folder, suffix=".yml"):
    rig = make_rig(("left", "right"))
    first, second = (camera.cam_from_rig for camera in rig.values())
    relative = second @ np.linalg.inv(first)
    write_pictures(folder, rig, "images/{name}.png", "masks/{name}.png")
    intrinsics = {}
    for i, camera in enumerate(rig.values(), 1):
        intrinsics |= {f"M{i}": camera.K - HALF, f"D{i}": np.array([camera.lens.coefficients])}
    storage(folder / f"intrinsics{suffix}", intrinsics)
    storage(folder / f"extrinsics{suffix}", {"R": relative[:3, :3], "T": 1000 * relative[:3, 3:], "Q": np.eye(4)})
    return Written(rig, masks=True)


def write_stereo_xml(folder):
    return write_stereo(folder, ".xml")


def write_stereo_json(folder):
    return write_stereo(folder, ".json")


def write_easymocap(folder):
    rig = make_rig(("01", "02", "cam5"))
    write_pictures(folder, rig, "images/{name}/{frame}.jpg", frames=("000000", "000001"))
    intri, extri = {"names": list(rig)}, {"names": list(rig)}
    for name, camera in rig.items():
        R = camera.cam_from_rig[:3, :3]
        intri |= {f"K_{name}": camera.K - HALF, f"dist_{name}": np.array([camera.lens.coefficients])}
        extri |= {f"R_{name}": cv2.Rodrigues(R)[0], f"T_{name}": camera.cam_from_rig[:3, 3:]}
        if name != "02":
            extri[f"Rot_{name}"] = R
    storage(folder / "intri.yml", intri)
    storage(folder / "extri.yml", extri)
    return Written(rig, frames=2)


def write_mc_calib(folder):
    rig = make_rig(("camera_0", "camera_1", "camera_2"))
    write_pictures(
        folder, {f"Cam_{i + 1:03d}": c for i, c in enumerate(rig.values())}, "images/{name}/{frame}.png", frames=("7",)
    )
    file = cv2.FileStorage(str(folder / "calibrated_cameras_data.yml"), cv2.FileStorage_WRITE)
    file.write("nb_camera", len(rig))
    for name, camera in rig.items():
        file.startWriteStruct(name, cv2.FileNode_MAP)
        file.write("camera_matrix", camera.K - HALF)
        file.write("distortion_vector", np.array([camera.lens.coefficients]))
        file.write("distortion_type", 0)
        file.write("camera_group", 0)
        file.write("img_width", camera.width)
        file.write("img_height", camera.height)
        pose = np.linalg.inv(camera.cam_from_rig)
        pose[:3, 3] *= 100
        file.write("camera_pose_matrix", pose)
        file.endWriteStruct()
    file.release()
    return Written(rig)


def write_multiview(folder):
    rig = make_rig(("0", "1", "top"))
    write_pictures(folder, rig, "images/{frame}/cam_{name}.png", frames=("f1", "f2"))
    values = list(rig.values())
    storage(
        folder / "result.yaml",
        {
            "Ks": np.array([camera.K - HALF for camera in values]),
            "distortions": np.array([[camera.lens.coefficients] for camera in values]),
            "rvecs": np.array([cv2.Rodrigues(camera.cam_from_rig[:3, :3])[0] for camera in values]),
            "Ts": np.array([1000 * camera.cam_from_rig[:3, 3:] for camera in values]),
            "is_fisheye": np.zeros(3, int).astype(np.int32),
            "image_sizes": np.array([[camera.width, camera.height] for camera in values], np.int32),
            "cam_ids": ",".join(rig),
        },
    )
    return Written(rig, frames=2)


def write_kalibr(folder):
    rig = make_rig(("cam0", "cam1", "cam2"), lens=RADIAL_TANGENTIAL)
    rig["cam2"] = replace(rig["cam2"], lens=Lens("fisheye", (0.1, -0.02, 0.01, 0.0)))
    write_pictures(folder, rig, mask_pattern="masks/{name}.png")
    text, previous = "", None
    for name, camera in rig.items():
        fx, fy, cx, cy = (float((camera.K - HALF)[i]) for i in ((0, 0), (1, 1), (0, 2), (1, 2)))
        text += f"{name}:\n  camera_model: pinhole\n  intrinsics: [{fx}, {fy}, {cx}, {cy}]\n"
        text += f"  distortion_model: {'equidistant' if camera.lens.model == 'fisheye' else 'radtan'}\n"
        text += f"  distortion_coeffs: {list(camera.lens.coefficients)}\n"
        text += f"  resolution: [{camera.width}, {camera.height}]\n"
        if previous is not None:
            text += f"  T_cn_cnm1: {(camera.cam_from_rig @ np.linalg.inv(previous)).tolist()}\n"
        previous = camera.cam_from_rig
    (folder / "camchain.yaml").write_text(text)
    return Written(rig, masks=True)


def write_metashape(folder):
    rig = make_rig(lens=Lens("brown", (-0.2, 0.05, 0.002, -0.003, 0.01, 0.02)))
    rig = {name: replace(c, K=c.K + np.array([[0, 0.4, 0], [0, 0, 0], [0, 0, 0]])) for name, c in rig.items()}
    write_pictures(folder, rig, mask_pattern="masks/{name}.png")
    world = np.array([[0, 1, 0, 0.5], [0, 0, 1, 0.2], [1, 0, 0, -0.1], [0, 0, 0, 1.0]])  # world = 0.2 R X + t
    sensors, cameras = "", ""
    for i, (name, c) in enumerate(rig.items()):
        k1, k2, p1, p2, k3, k4 = c.lens.coefficients
        f = c.K[1, 1]
        values = {"f": f, "cx": c.K[0, 2] - c.width / 2, "cy": c.K[1, 2] - c.height / 2, "b1": c.K[0, 0] - f, "b2": 0.4}
        values |= {"k1": k1, "k2": k2, "k3": k3, "k4": k4, "p1": p2, "p2": p1}
        tags = "".join(f"<{key}>{float(value)!r}</{key}>" for key, value in values.items())
        sensors += f'<sensor id="{i}" type="frame"><resolution width="{c.width}" height="{c.height}"/>'
        sensors += '<calibration class="initial"><f>1</f></calibration>'
        sensors += f'<calibration class="adjusted">{tags}</calibration></sensor>'
        in_chunk = np.linalg.inv(world) @ np.linalg.inv(c.cam_from_rig)
        in_chunk[:3, 3] /= 0.2
        numbers = " ".join(f"{float(v)!r}" for v in in_chunk.ravel())
        cameras += f'<camera id="{i}" sensor_id="{i}" component_id="0" label="{name.upper()}.JPG">'
        cameras += f"<transform>{numbers}</transform></camera>"
    cameras += '<camera id="99" sensor_id="0" label="lost"/>'
    rotation = " ".join(str(v) for v in world[:3, :3].ravel())
    similarity = f"<rotation>{rotation}</rotation><translation>0.5 0.2 -0.1</translation><scale>0.2</scale>"
    text = '<?xml version="1.0" encoding="UTF-8"?><document version="2.0.0"><chunk label="Chunk 1">'
    text += f'<sensors>{sensors}</sensors><components><component id="0"><transform>{similarity}</transform>'
    text += f"</component></components><cameras>{cameras}</cameras></chunk></document>"
    (folder / "cameras.xml").write_text(text, encoding="utf-8")
    return Written(rig, masks=True)


def with_aspect(rig, aspect=1.0):
    return {
        name: replace(c, K=np.array([[c.K[0, 0], 0, c.K[0, 2]], [0, aspect * c.K[0, 0], c.K[1, 2]], [0, 0, 1]]))
        for name, c in rig.items()
    }


def write_realityscan_csv(folder):
    rig = with_aspect(make_rig())
    write_pictures(folder, rig, mask_pattern="masks/{name}.png")
    text = io.StringIO()
    text.write("#name,x,y,alt,heading,pitch,roll,f,px,py,k1,k2,k3,k4,t1,t2\r\n")
    writer = csv.writer(text)
    for name, c in rig.items():
        R = c2w_gl(c)[:3, :3]  # Rz(-h) Rx(p) Ry(r)
        pitch = np.degrees(np.arcsin(R[2, 1]))
        heading = np.degrees(np.arctan2(R[0, 1], R[1, 1]))
        roll = np.degrees(np.arctan2(-R[2, 0], R[2, 2]))
        k1, k2, p1, p2, k3 = c.lens.coefficients
        film = [36 * c.K[0, 0] / 64, (c.K[0, 2] - c.width / 2) / 64, (c.K[1, 2] - c.height / 2) / 64]
        writer.writerow([f"{name}.png", *c.centre, heading, pitch, roll, *film, k1, k2, k3, 0, p2, p1])
    (folder / "cameras.csv").write_text(text.getvalue(), encoding="utf-8")
    return Written(rig, masks=True)


def write_realityscan_xmp(folder):
    rig = with_aspect(make_rig(lens=Lens("brown", (-0.2, 0.05, 0.002, -0.003, 0.01, 0.02))), 1.02)
    write_pictures(folder, rig, "images/{frame}/{name}.jpg", frames=("a", "b"))
    for name, c in rig.items():
        k1, k2, p1, p2, k3, k4 = c.lens.coefficients
        film = [36 * c.K[0, 0] / 64, (c.K[0, 2] - c.width / 2) / 64, (c.K[1, 2] - c.height / 2) / 64]
        words = [
            " ".join(f"{float(v)!r}" for v in values)
            for values in (c.cam_from_rig[:3, :3].ravel(), c.centre, (k1, k2, k3, k4, p2, p1))
        ]
        for frame in "ab":
            (folder / "images" / frame / f"{name}.xmp").write_text(
                '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
                '<rdf:Description xmlns:xcr="http://www.capturingreality.com/ns/xcr/1.1#" xcr:Version="3" '
                f'xcr:DistortionModel="brown4t2" xcr:FocalLength35mm="{film[0]}" xcr:Skew="0" xcr:AspectRatio="1.02" '
                f'xcr:PrincipalPointU="{film[1]}" xcr:PrincipalPointV="{film[2]}" xcr:Position="{words[1]}">'
                f"<xcr:Rotation>{words[0]}</xcr:Rotation>"
                f"<xcr:DistortionCoeficients>{words[2]}</xcr:DistortionCoeficients></rdf:Description></rdf:RDF></x:xmpmeta>"
            )
    return Written(rig, frames=2)


WRITERS = {
    "native": ("native", write_native),
    "colmap text": ("colmap", write_colmap_text),
    "colmap binary": ("colmap", write_colmap_binary),
    "nerfstudio": ("nerfstudio", write_nerfstudio),
    "blender": ("nerfstudio", write_blender),
    "vhap": ("vhap", write_vhap),
    "nersemble v2": ("nersemble-v2", write_nersemble_v2),
    "nersemble v1": ("nersemble-v1", write_nersemble_v1),
    "ava-256": ("ava-256", write_ava),
    "krt": ("krt", write_krt),
    "facescape": ("facescape", write_facescape),
    "stereo yml": ("opencv", write_stereo),
    "stereo xml": ("opencv", write_stereo_xml),
    "stereo json": ("opencv", write_stereo_json),
    "easymocap": ("opencv", write_easymocap),
    "mc-calib": ("opencv", write_mc_calib),
    "multiview": ("opencv", write_multiview),
    "kalibr": ("kalibr", write_kalibr),
    "metashape": ("metashape", write_metashape),
    "realityscan csv": ("realityscan-csv", write_realityscan_csv),
    "realityscan xmp": ("realityscan-xmp", write_realityscan_xmp),
}


@pytest.fixture(params=list(WRITERS))
def dialect(request, tmp_path):
    """Name of the importer, folder and truth of the rig in one dialect."""
    importer, write = WRITERS[request.param]
    folder = tmp_path / "dümp one"
    folder.mkdir()
    return importer, folder, write(folder)


@pytest.fixture
def write_dialect():
    """Write the rig in a dialect of `WRITERS` into a folder and return the folder and what was written."""

    def write(name, folder):
        folder.mkdir(parents=True, exist_ok=True)
        return WRITERS[name][1](folder)

    return write
