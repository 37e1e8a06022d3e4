[[max_total_threads_per_threadgroup(32)]] kernel void lanes(device const float4* x_ [[buffer(0)]], device const int* n_ [[buffer(1)]], device const uint* u_ [[buffer(2)]], device float4* y_ [[buffer(3)]], device int* m_ [[buffer(4)]], constant int* dims_at [[buffer(5)]], uint3 group_at [[threadgroup_position_in_grid]], uint thread_at [[thread_index_in_threadgroup]]) {
  const int rows_ = dims_at[0];
  const int g_ = int(group_at.x + group_at.y * 32768u);
  if (g_ >= 2) { return; }
  const int t_ = int(thread_at);
  const int i_ = ((g_ * 32) + t_);
  if ((t_ < 8)) {
    const int j_ = (((g_ * 8) + t_) * 4);
    const float4 v_ = x_[(j_ >> 2)];
    const float4 wide_r0_ = x_[(j_ >> 2)];
    const bool odd_r1_ = ((j_ & 1) != 0);
    y_[(j_ >> 2)] = float4((v_.x + v_.w), (((j_ & 2) != 0) ? (odd_r1_ ? wide_r0_.w : wide_r0_.z) : (odd_r1_ ? wide_r0_.y : wide_r0_.x)), v_.y, v_.z);
  }
}
