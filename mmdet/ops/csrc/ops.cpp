// Every operator's schema. Kernels register themselves beside their code; gradients and shapes stand in extension.py.
#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY(mmdet, m) {
  m.def(
      "roi_align(Tensor[] features, Tensor rois, Tensor? levels, float[] scales, int pooled_height, int pooled_width, "
      "int sampling_ratio, bool aligned) -> Tensor");
  // sizes: N, then H and W of every level. With `quantum`, CUDA counts gradients in whole quanta (int64), which add up
  // to the same sum in any order.
  m.def(
      "roi_align_backward(Tensor grad, Tensor rois, Tensor? levels, float[] scales, int[] sizes, int sampling_ratio, "
      "bool aligned, bool channels_last, Tensor? quantum) -> Tensor[]");
  m.def("nms(Tensor boxes, Tensor order, Tensor groups, Tensor counts, float iou_threshold, int max_keep) -> Tensor");
  // Boxes (B, n, 4) sorted by segments (B, n), negative where there is none, and then best first; rank (B, n) counts
  // along the scores of all. Returns bool (B, n) in the order of rank. On CUDA, as the next.
  m.def("nms_segments(Tensor boxes, Tensor segments, Tensor rank, float iou_threshold, int max_keep) -> Tensor");
  // x (B, C, H, W) becomes relu(x + bias (C) + other); out: what it became, where ReLU was part of it. Returns x's
  // gradient, which is other's too, and the bias's.
  m.def("bias_relu_(Tensor(a!) x, Tensor? bias, Tensor? other, bool relu) -> ()");
  m.def("bias_relu_backward(Tensor grad, Tensor? out, bool wants_bias) -> (Tensor, Tensor)");
  // weight (Cout, ...) and, of each channel, what is known of a batch norm by fixed statistics behind the convolution
  // -> the weights of both in `dtype`, and their bias; backward returns the gradients of weight, gamma and conv_bias.
  m.def(
      "fold_norm(Tensor weight, Tensor? conv_bias, Tensor gamma, Tensor beta, Tensor mean, Tensor variance, float eps, "
      "ScalarType dtype) -> (Tensor, Tensor)");
  m.def(
      "fold_norm_backward(Tensor grad, Tensor grad_bias, Tensor weight, Tensor? conv_bias, Tensor gamma, Tensor mean, "
      "Tensor variance, float eps) -> (Tensor, Tensor, Tensor)");
  // x (B, C, H, W) -> x normalized, and of each group its mean and 1 / sqrt(variance + eps) (B, G); backward returns
  // x's gradient and, of each image and channel, (B, 2, C), the sums that are the gradients of bias and weight.
  m.def(
      "group_norm(Tensor x, int groups, Tensor weight, Tensor bias, float eps, bool relu) -> (Tensor, Tensor, Tensor)");
  m.def(
      "group_norm_backward(Tensor grad, Tensor x, Tensor weight, Tensor bias, Tensor means, Tensor scales, bool relu) "
      "-> (Tensor, Tensor)");
  // boxes (1 or B, N, 4), objects (B, G, 4), ignored (B, I, 4) float32, is_object (B, G), valid (B, N) bool -> int64
  // (B, N): the object of each box, -1 or -2. positive, least: overlaps of positives and of claims; background is from
  // low to high; most_ignored: of a box's area, or of the ignored one's. On CUDA.
  m.def(
      "match_boxes(Tensor boxes, Tensor objects, Tensor is_object, Tensor ignored, Tensor? valid, float positive, "
      "float low, float high, float least, bool low_quality, bool all_best, float most_ignored, bool of_box) -> Tensor");
  m.def(
      "crop_masks(Tensor pixels, Tensor windows, Tensor starts, Tensor rois, Tensor index, int size, int height, "
      "int width) -> Tensor");
  m.def("paste_masks(Tensor probs, Tensor boxes, int height, int width, float threshold) -> Tensor");
  // The runs (R, 2) of all masks' columns, first and last + 1 pixel counted down the columns, and the number of each
  // mask; then, on the CPU, COCO's text of all masks and the number of characters of each.
  m.def("mask_runs(Tensor probs, Tensor boxes, int height, int width, float threshold) -> (Tensor, Tensor)");
  m.def("encode_runs(Tensor runs, Tensor num_runs, int num_pixels) -> (Tensor, Tensor)");
  // x (B, Cin, H, W), weight (Cout, Cin, 3, 3), all float32 -> (B, Cout, H', W') channels-last. Transposed: x is the
  // gradient (B, Cout, H', W'), the result that of the input. On the CPU, of stride 1, as the next.
  m.def("conv_3x3(Tensor x, Tensor weight, Tensor? bias, int pad_y, int pad_x, bool transposed) -> Tensor");
  // x (B, Cin, H, W), grad (B, Cout, H', W'), offset (Cout) off grad -> float32 (Cout, Cin, 3, 3), times the scale.
  m.def(
      "weight_grad_3x3(Tensor x, Tensor grad, Tensor? offset, int pad_y, int pad_x, bool channels_last, "
      "int tile=4, float scale=1) -> Tensor");
  // x (B, C, H, W), mean (C) -> float32 (C, C), the sum over all positions of x - mean times itself. On the CPU.
  m.def("scatter_matrix(Tensor x, Tensor mean) -> Tensor");
  // x (B, C, H, W) channels-last -> (C, kh, kw), the mean of the patches under a convolution's output positions, of
  // strides and dilations 1, in the type of sums. On the CPU.
  m.def("mean_patch(Tensor x, int kernel_height, int kernel_width, int pad_y, int pad_x) -> Tensor");
  // a * scale_a + b * scale_b + offset: (B, C, H, W), the others (C) in the type of sums. On the CPU.
  m.def("scaled_sum(Tensor a, Tensor b, Tensor scale_a, Tensor scale_b, Tensor offset) -> Tensor");
  // One iteration of Cross-Iteration BN: mean and variance of each channel over this iteration and `count` stored ones,
  // from slot `first` on; this iteration goes into the slot after them. models/layers/cbn.py has the shapes.
  m.def(
      "cbn_statistics(Tensor weight, Tensor? bias, Tensor(a!) patch, Tensor(b!) slope, Tensor(c!) mean, "
      "Tensor(d!) mean0, Tensor(e!) var0, Tensor new_patch, Tensor new_slope, Tensor own_mean, "
      "Tensor own_var, int first, int count) -> (Tensor, Tensor)");
}
