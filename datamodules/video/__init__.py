"""Video data modules: files, folders of frames, published data sets."""

from datamodules.video.folds import HMDB51, UCF101
from datamodules.video.frame_folder import FrameFolder
from datamodules.video.video_folder import VideoFolder, Videos
from datamodules.video.video_frames import VideoFrames
from datamodules.video.video_stream import VideoStream

__all__ = ["HMDB51", "UCF101", "FrameFolder", "VideoFolder", "VideoFrames", "VideoStream", "Videos"]
