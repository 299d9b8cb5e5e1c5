# The demo with three stages, whose boxes must fit better from one to the next.
_base_ = './faster-rcnn_demo.py'
box_head, rcnn = _base_.model.roi_head.bbox_head, _base_.model.train_cfg.rcnn
model = dict(
    type='CascadeRCNN',
    roi_head=dict(
        type='CascadeRoIHead',
        num_stages=3,
        stage_loss_weights=[1, 0.5, 0.25],
        bbox_head=[
            dict(box_head, reg_class_agnostic=True, bbox_coder=dict(box_head.bbox_coder, target_stds=stds))
            for stds in ([0.1, 0.1, 0.2, 0.2], [0.05, 0.05, 0.1, 0.1], [0.033, 0.033, 0.067, 0.067])
        ]),
    train_cfg=dict(rcnn=[
        dict(rcnn, assigner=dict(rcnn.assigner, pos_iou_thr=iou, neg_iou_thr=iou, min_pos_iou=iou))
        for iou in (0.5, 0.6, 0.7)
    ]))
