"""The flow of the tools: pictures, folders and videos in, files out, on one process or many."""
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from mmengine.dist import barrier, get_dist_info

from mmdet.engine.result_names import ResultNames
from mmdet.errors import UserError

from .det_inferencer import DetInferencer, plan_names
from .drawings import Drawings
from .prediction_files import PredictionFiles
from .save_as import ONE_FILE, writers
from .shards import Shards
from .sources import count, find_pictures
from .tiles import Tiling
from .video import Video


def detect_files(inferencer: DetInferencer, inputs: Any, out_dir: str, save_vis: bool = True, save_pred: bool = True,
                 save_as: Sequence[str] = (), pred_score_thr: float = 0.3, show: bool = False, wait_time: float = 0,
                 video_path: str | None = None, print_result: bool = False, batch_size: int | None = None,
                 tiling: Tiling | None = None, workers: int = 2, in_shards: bool = False,
                 resume: bool = False) -> int:
    """Detect on all that find_pictures takes; nothing is kept in memory.

    A picture that cannot be read is named at once, and counted at the end. Of several processes each takes its share.

    Args:
        out_dir: gets vis/ (save_vis), preds/ (save_pred) and what save_as, of save_as.FORMATS, asks for.
        pred_score_thr: least score of what is drawn, and of the files of save_as.
        video_path: name of the drawn video; by default out_dir/vis/NAME.
        in_shards: predictions go to out_dir/shards, JSON lines, in place of preds/; so they do on several processes.
        resume: leave out the pictures that out_dir/shards has, and add to it. Videos begin anew.

    Returns:
        How many could not be read; on several processes the first knows of all, the others return 0.
    """
    rank, world_size = get_dist_info()
    found = find_pictures(inputs, leave_out=out_dir)
    if not isinstance(found, list):
        raise UserError('detect_files takes a path, a pattern, a folder or a list of these')
    mine = found[rank::world_size]
    shards = Shards(Path(out_dir, 'shards')) if in_shards or resume or world_size > 1 else None
    if shards is not None:
        if resume:
            done = {name for name, line in shards.lines().items() if not line.failed}
            mine = [item for item in mine if not isinstance(item, str) or item not in done]
        elif rank == 0:
            shards.clear()
        barrier()
    names = [item.name if isinstance(item, Video) else str(item) for item in found]
    vis_names, pred_names = ResultNames(), ResultNames('.json')
    plan_names(found, vis_names, pred_names)
    classes = inferencer.model.dataset_meta['classes']
    later = [name for name in save_as if name in ONE_FILE and shards is not None]  # when all processes are done
    failed = 0
    start, total = time.perf_counter(), 0
    with ExitStack() as stack:
        records = list(writers([name for name in save_as if name not in later], out_dir, classes, names).values())
        shard = None if shards is None else shards.open(rank)
        files = PredictionFiles(Path(out_dir, 'preds'), pred_names) if save_pred and shards is None else None
        drawings = Drawings(inferencer.visualizer, vis_names, Path(out_dir, 'vis') if save_vis else None, show,
                            wait_time, pred_score_thr=pred_score_thr, video_path=video_path) \
            if save_vis or show or video_path else None
        for sink in (*records, shard, files, drawings):
            if sink is not None:
                stack.enter_context(closing(sink))
        inferencer.show_progress = inferencer.show_progress and rank == 0
        for detected in inferencer.with_progress(inferencer.stream(mine, batch_size, tiling, workers), count(mine)):
            total += 1
            if detected.error is not None:
                print(f'\nleft out: {detected.error}', file=sys.stderr, flush=True)
                failed += 1
                if shard is not None:
                    shard.write_error(detected.picture.name, str(detected.error))
                continue
            if files is not None:
                files.write(detected)
            if shard is not None:
                shard.write(detected.record)
            if drawings is not None:
                drawings.write(detected)
            for writer in records:
                writer.write(detected.record.above(pred_score_thr))
            if print_result:
                print(detected.record.prediction)
    seconds = time.perf_counter() - start
    print(f'{total} picture{"s" if total != 1 else ""} in {seconds:.1f} s, {total / seconds:.2f} a second', flush=True)
    if shards is not None:
        barrier()
        failed = _merge(shards, later, out_dir, classes, pred_score_thr) if rank == 0 else 0
    return failed


def _merge(shards: Shards, formats: Sequence[str], out_dir: str, classes: Sequence[str], pred_score_thr: float) -> int:
    """Write the files of the formats that hold all pictures, in order of their names; how many could not be read."""
    lines = sorted(shards.lines().values(), key=lambda line: line.name)
    good = [line for line in lines if not line.failed]
    made = list(writers(formats, out_dir, classes, ()).values())
    for record in shards.records(good) if made else ():
        for writer in made:
            writer.write(record.above(pred_score_thr))
    for writer in made:
        writer.close()
    return len(lines) - len(good)
