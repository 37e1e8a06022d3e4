__kernel __attribute__((reqd_work_group_size(32, 1, 1)))
void vectors_of_two(__global const char* m0, __global const char* m1, __global const char* m2, __global char* m3, __global char* m4, int rows_, long o0, long o1, long o2, long o3, long o4) {
  __global const float2* restrict x_ = (__global const float2*)(m0 + o0);
  __global const int2* restrict n_ = (__global const int2*)(m1 + o1);
  __global const uint* restrict u_ = (__global const uint*)(m2 + o2);
  __global float2* restrict y_ = (__global float2*)(m3 + o3);
  __global int2* restrict m_ = (__global int2*)(m4 + o4);
  const int g_ = (int)get_group_id(0);
  const int t_ = (int)get_local_id(0);
  const int i_ = ((g_ * 32) + t_);
  if ((t_ < 16)) {
    const int j_ = (((g_ * 16) + t_) * 2);
    const float2 wide_r0_ = x_[1];
    const float2 v_ = (x_[(j_ >> 1)] * ((float2)(wide_r0_.y)));
    y_[(j_ >> 1)] = v_.yx;
    m_[(j_ >> 1)] = (n_[(j_ >> 1)] + ((int2)(5)));
  }
}
