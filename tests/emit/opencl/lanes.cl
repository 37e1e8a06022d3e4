__kernel __attribute__((reqd_work_group_size(32, 1, 1)))
void lanes(__global const char* m0, __global const char* m1, __global const char* m2, __global char* m3, __global char* m4, int rows_, long o0, long o1, long o2, long o3, long o4) {
  __global const float4* restrict x_ = (__global const float4*)(m0 + o0);
  __global const int* restrict n_ = (__global const int*)(m1 + o1);
  __global const uint* restrict u_ = (__global const uint*)(m2 + o2);
  __global float4* restrict y_ = (__global float4*)(m3 + o3);
  __global int* restrict m_ = (__global int*)(m4 + o4);
  const int g_ = (int)get_group_id(0);
  const int t_ = (int)get_local_id(0);
  const int i_ = ((g_ * 32) + t_);
  if ((t_ < 8)) {
    const int j_ = (((g_ * 8) + t_) * 4);
    const float4 v_ = x_[(j_ >> 2)];
    const float4 wide_r0_ = x_[(j_ >> 2)];
    const bool odd_r1_ = ((j_ & 1) != 0);
    y_[(j_ >> 2)] = ((float4)((v_.x + v_.w), (((j_ & 2) != 0) ? (odd_r1_ ? wide_r0_.w : wide_r0_.z) : (odd_r1_ ? wide_r0_.y : wide_r0_.x)), v_.y, v_.z));
  }
}
