using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Linux.Tests;

/// <summary>The pair of sockets between a process and its child.</summary>
public sealed class ProcessChannelTests
{
    [Fact]
    public void Messages_come_whole_in_order_and_may_carry_a_file()
    {
        (ProcessChannel own, ProcessChannel other) = Pair();
        using (own)
        using (other)
        {
            using var file = new EventFd();
            Assert.True(own.Send([1, 2, 3], file.Fd));
            Assert.True(own.Send([4]));
            byte[] room = new byte[ProcessChannel.MaxMessage];
            Assert.Equal(3, other.Receive(room, out int descriptor));
            Assert.Equal([1, 2, 3], room[..3]);
            Assert.True(descriptor >= 0 && descriptor != file.Fd);
            ProcessChannel.CloseDescriptor(descriptor);
            Assert.Equal(1, other.Receive(room, out descriptor));
            Assert.Equal(-1, descriptor);
            Assert.Throws<ArgumentException>(() => own.Send([]));
        }
    }

    [Fact]
    public void What_was_sent_before_an_end_went_is_still_received_also_when_that_end_had_not_read_everything()
    {
        (ProcessChannel own, ProcessChannel other) = Pair();
        using (own)
        {
            Assert.True(own.Send([9])); // never read: the kernel tells it as a reset
            Assert.True(other.Send([1]));
            Assert.True(other.Send([2]));
            other.Dispose();
            byte[] room = new byte[ProcessChannel.MaxMessage];
            Assert.Equal(1, own.Receive(room, out _));
            Assert.Equal(1, own.Receive(room, out _));
            Assert.Equal(2, room[0]);
            Assert.Equal(0, own.Receive(room, out _));
            Assert.False(own.Send([3]));
        }
    }

    [Fact]
    public async Task Closing_an_end_brings_back_the_thread_that_waits_in_it()
    {
        (ProcessChannel own, ProcessChannel other) = Pair();
        using (other)
        {
            Task<int> waiting = Task.Factory.StartNew(() => own.Receive(new byte[16], out _), CancellationToken.None,
                TaskCreationOptions.LongRunning, TaskScheduler.Default);
            own.Dispose();
            Assert.Equal(0, await waiting.WaitAsync(Patience.Time));
        }
    }

    private static (ProcessChannel Own, ProcessChannel Other) Pair()
    {
        (ProcessChannel own, int child) = ProcessChannel.Pair();
        return (own, ProcessChannel.Inherited(child));
    }
}
