"""A data set from a CSV file with a line an object: picture,width,height,class,x1,y1,x2,y2 (pixels)."""
import csv
from pathlib import Path

from mmengine.dataset import BaseDataset

from mmdet.registry import DATASETS


@DATASETS.register_module()
class CsvDataset(BaseDataset):

    def load_data_list(self):
        """One dict a picture; ann_file and data_prefix['img'] are already joined with data_root."""
        pictures = {}
        with open(self.ann_file, newline='') as file:
            for row in csv.DictReader(file):
                picture = pictures.setdefault(row['picture'], dict(
                    img_id=row['picture'], img_path=str(Path(self.data_prefix['img'], row['picture'])),
                    width=int(row['width']), height=int(row['height']), instances=[]))
                picture['instances'].append(dict(
                    bbox=[float(row[side]) for side in ('x1', 'y1', 'x2', 'y2')],
                    bbox_label=self.metainfo['classes'].index(row['class']), ignore_flag=0))
        return list(pictures.values())
