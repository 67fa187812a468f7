"""Video data modules: files, folders of frames, published data sets."""

from datamodules.videos.folds import HMDB51, UCF101
from datamodules.videos.frame_folder import FrameFolder
from datamodules.videos.video_folder import VideoFolder, Videos
from datamodules.videos.video_frames import VideoFrames

__all__ = ["HMDB51", "UCF101", "FrameFolder", "VideoFolder", "VideoFrames", "Videos"]
